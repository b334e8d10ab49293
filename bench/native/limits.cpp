/* What the machine can do at most, by loops of our own: reading memory, dot products from the first-level cache, and
 * handing a cache line over, parallel sections. */
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <thread>
#include <vector>

#include "bench.h"
#include "matmul.h"
#if defined(__x86_64__)
#include <immintrin.h>
#include "amx.cpu.h"
#endif

namespace skv::bench {
namespace {

constexpr size_t kBytes = size_t(1) << 30;
constexpr size_t kPage = 4096;

volatile uint64_t sink;

/* Sum of 64-bit words, eight accumulators: vectorised by the compiler, and slower than no memory. */
uint64_t read(const uint8_t* data, size_t bytes) {
  uint64_t sum[32] = {};
  const auto* words = reinterpret_cast<const uint64_t*>(data);
  for (size_t i = 0; i < bytes / 8; i += 32)
    for (int j = 0; j < 32; j++) sum[j] += words[i + j];
  return std::accumulate(sum, sum + 32, uint64_t(0));
}

/* 1 GiB of random words, filled by the threads that will read it. */
const uint8_t* gigabyte(Threads& threads) {
  static std::unique_ptr<Block> block;
  if (!block) {
    block = std::make_unique<Block>(kBytes);
    threads.each(64, [](int32_t item, int32_t) {
      Random random(item + 1);
      auto* words = reinterpret_cast<uint64_t*>(block->data + kBytes / 64 * item);
      for (size_t i = 0; i < kBytes / 64 / 8; i++) words[i] = random.next();
    });
  }
  return block->data;
}

Answer bandwidth(Threads& threads, bool scattered) {
  const uint8_t* data = gigabyte(threads);
  static std::vector<uint32_t> order;
  if (order.empty()) {
    order.resize(kBytes / kPage);
    std::iota(order.begin(), order.end(), 0);
    Random random(7);
    for (size_t i = order.size() - 1; i > 0; i--) std::swap(order[i], order[random.next() % (i + 1)]);
  }
  /* in sections of 4 MiB, each timed: what interrupts one does not slow the gigabyte */
  constexpr int kSections = 256;
  const int pieces = threads.count() * 4;
  std::vector<uint64_t> sums(pieces);
  std::vector<double> times;
  for (int section = 0; section < kSections; section++) {
    const size_t first = order.size() / kSections * section, pages = order.size() / kSections;
    const double start = seconds_now();
    threads.each(pieces, [&](int32_t piece, int32_t) {
      const size_t from = first + pages * piece / pieces, to = first + pages * (piece + 1) / pieces;
      if (!scattered)
        sums[piece] += read(data + from * kPage, (to - from) * kPage);
      else
        for (size_t i = from; i < to; i++) sums[piece] += read(data + order[i] * kPage, kPage);
    });
    times.push_back(seconds_now() - start);
  }
  sink = std::accumulate(sums.begin(), sums.end(), uint64_t(0));
  return {median(times) * kSections, double(kBytes), 0};
}

/* Dot products of eight register-held vectors with a stream from the first-level cache, sixteen sums in flight: the
 * inner loop of a matrix product without anything around it. Run(words, rounds) does `rounds` sweeps; ops counts
 * multiply and add apart. */
struct Dots {
  double ops;                                          /* of one sweep */
  uint64_t (*sweeps)(const uint8_t* line, int rounds); /* line: kLine random bytes, finite in every reading */
};
constexpr int kLine = 16384, kVectors = kLine / 64;

template <class Acc, size_t kAccs>
inline uint64_t words_of(const Acc (&acc)[kAccs]) {
  uint64_t out[sizeof acc / 8], sum = 0;
  memcpy(out, acc, sizeof acc);
  for (uint64_t word : out) sum += word;
  return sum;
}

#if defined(__AVX512F__)
template <class Acc, class Step>
inline uint64_t sweep512(const uint8_t* line, int rounds, Acc zero, Step&& step) {
  Acc acc[16];
  for (auto& a : acc) a = zero;
  __m512i x[8];
  for (int i = 0; i < 8; i++) x[i] = _mm512_load_si512(line + 64 * i);
  for (int r = 0; r < rounds; r++)
    for (int v = 0; v < kVectors; v += 2) {
      const __m512i w0 = _mm512_load_si512(line + 64 * v), w1 = _mm512_load_si512(line + 64 * v + 64);
#pragma GCC unroll 8
      for (int i = 0; i < 8; i++) {
        acc[i] = step(acc[i], w0, x[i]);
        acc[8 + i] = step(acc[8 + i], w1, x[i]);
      }
    }
  return words_of(acc);
}
#elif defined(__AVX2__) && defined(__FMA__)
/* Sixteen registers hold four times `kColumns` sums, `kColumns` vectors, one of the stream, and what a step needs. */
template <int kColumns, class Acc, class Step>
inline uint64_t sweep256(const uint8_t* line, int rounds, Acc zero, Step&& step) {
  Acc acc[4 * kColumns];
  for (auto& a : acc) a = zero;
  __m256i x[kColumns];
  const auto* from = reinterpret_cast<const __m256i*>(line);
  for (int i = 0; i < kColumns; i++) x[i] = _mm256_load_si256(from + i);
  for (int r = 0; r < rounds; r++)
    for (int v = 0; v < 2 * kVectors; v += 4)
#pragma GCC unroll 4
      for (int k = 0; k < 4; k++) {
        const __m256i w = _mm256_load_si256(from + v + k);
#pragma GCC unroll 4
        for (int i = 0; i < kColumns; i++) acc[k * kColumns + i] = step(acc[k * kColumns + i], w, x[i]);
      }
  return words_of(acc);
}
#endif

#if defined(__AVX512VNNI__)
uint64_t int8_sweeps(const uint8_t* line, int rounds) {
  return sweep512(line, rounds, _mm512_setzero_si512(),
                  [](__m512i acc, __m512i w, __m512i x) { return _mm512_dpbusd_epi32(acc, w, x); });
}
constexpr Dots kInt8 = {kVectors * 8.0 * 64 * 2, int8_sweeps};
#elif defined(__AVX2__) && defined(__FMA__)
uint64_t int8_sweeps(const uint8_t* line, int rounds) {
  const __m256i ones = _mm256_set1_epi16(1);
  return sweep256<2>(line, rounds, _mm256_setzero_si256(), [ones](__m256i acc, __m256i w, __m256i x) {
    return _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), ones));
  });
}
constexpr Dots kInt8 = {kVectors * 2.0 * 64 * 2, int8_sweeps};
#else
constexpr Dots kInt8 = {0, nullptr};
#endif

#if defined(__AVX512BF16__)
uint64_t bf16_sweeps(const uint8_t* line, int rounds) {
  return sweep512(line, rounds, _mm512_setzero_ps(),
                  [](__m512 acc, __m512i w, __m512i x) { return _mm512_dpbf16_ps(acc, (__m512bh)w, (__m512bh)x); });
}
constexpr Dots kBf16 = {kVectors * 8.0 * 32 * 2, bf16_sweeps};
#else
constexpr Dots kBf16 = {0, nullptr};
#endif

#if defined(__AVX512F__)
uint64_t f32_sweeps(const uint8_t* line, int rounds) {
  return sweep512(line, rounds, _mm512_setzero_ps(), [](__m512 acc, __m512i w, __m512i x) {
    return _mm512_fmadd_ps(_mm512_castsi512_ps(w), _mm512_castsi512_ps(x), acc);
  });
}
constexpr Dots kF32 = {kVectors * 8.0 * 16 * 2, f32_sweeps};
#elif defined(__AVX2__) && defined(__FMA__)
uint64_t f32_sweeps(const uint8_t* line, int rounds) {
  return sweep256<3>(line, rounds, _mm256_setzero_ps(), [](__m256 acc, __m256i w, __m256i x) {
    return _mm256_fmadd_ps(_mm256_castsi256_ps(w), _mm256_castsi256_ps(x), acc);
  });
}
constexpr Dots kF32 = {kVectors * 3.0 * 16 * 2, f32_sweeps};
#else
/* Sixteen lanes as plain loops: NEON or SSE as the compiler finds them. */
uint64_t f32_sweeps(const uint8_t* line, int rounds) {
  const auto* w = reinterpret_cast<const float*>(line);
  float acc[8][16] = {};
  for (int r = 0; r < rounds; r++)
    for (int v = 0; v < kLine / 4; v += 16)
      for (int i = 0; i < 8; i++)
        for (int j = 0; j < 16; j++) acc[i][j] += w[v + j] * w[16 * i + j];
  float sum = 0;
  for (auto& row : acc) sum += std::accumulate(row, row + 16, 0.0f);
  uint64_t bits = 0;
  memcpy(&bits, &sum, 4);
  return bits;
}
constexpr Dots kF32 = {kLine / 64 * 8.0 * 16 * 2, f32_sweeps};
#endif

#if defined(SKV_FOR_TILES)
/* Four sums in tiles, of two tiles by two, which are read anew each time as a product reads them. */
template <class Tiles>
uint64_t sweep_tiles(const uint8_t* line, int rounds) {
  skv_tile_shapes shapes;
  for (int tile = 0; tile < 8; tile++) shapes.set(tile, 16, 64);
  skv_tiles_configure(&shapes);
  alignas(64) uint64_t sums[128];
  for (int r = 0; r < rounds; r++) {
    skv_tile_zero<0>();
    skv_tile_zero<1>();
    skv_tile_zero<2>();
    skv_tile_zero<3>();
    for (int at = 0; at < kLine; at += 4096) {
      skv_tile_load<4>(line + at, 64);
      skv_tile_load<5>(line + at + 1024, 64);
      skv_tile_load<6>(line + at + 2048, 64);
      skv_tile_load<7>(line + at + 3072, 64);
      Tiles::template dot<0, 4, 6>();
      Tiles::template dot<1, 5, 6>();
      Tiles::template dot<2, 4, 7>();
      Tiles::template dot<3, 5, 7>();
    }
  }
  skv_tile_store<3>(sums, 64);
  skv_tiles_release();
  return std::accumulate(sums, sums + 128, uint64_t(0));
}
struct OfBytes {
  template <int sum, int a, int b>
  static void dot() {
    skv_tile_dot_bytes<sum, a, b>();
  }
};
struct OfBf16 {
  template <int sum, int a, int b>
  static void dot() {
    skv_tile_dot_bf16<sum, a, b>();
  }
};
constexpr double kTileOps = 2.0 * 16 * 16 * 16 * 4 * (kLine / 4096); /* of numbers of 32 bits */
constexpr Dots kTilesOfBytes = {4 * kTileOps, sweep_tiles<OfBytes>}, kTilesOfBf16 = {2 * kTileOps, sweep_tiles<OfBf16>};
#else
constexpr Dots kTilesOfBytes = {0, nullptr}, kTilesOfBf16 = {0, nullptr};
#endif

/* The machine's tiles where products use them. */
const Dots& with_tiles(const Dots& tiles, const Dots& others) {
  return tiles.sweeps && !strcmp(find_isa(nullptr)->name, "amx") ? tiles : others;
}

Answer dots(Threads& threads, const Dots& dots) {
  if (!dots.sweeps) return {}; /* the processor or compiler has no such instruction */
  constexpr int kRounds = 400;
  const int workers = threads.count();
  std::vector<std::unique_ptr<Block>> lines;
  for (int w = 0; w < workers; w++) {
    lines.push_back(std::make_unique<Block>(kLine));
    Random random(w + 1);
    /* small f32 and bf16 numbers of both signs: exponents near zero, random mantissas */
    for (int i = 0; i < kLine / 2; i++) {
      const uint16_t bits = uint16_t((random.next() & 0x807f) | 0x3f00);
      memcpy(lines[w]->data + 2 * i, &bits, 2);
    }
  }
  std::vector<uint64_t> sums(workers);
  const double seconds = timed(
      [&] { threads.each(workers, [&](int32_t i, int32_t) { sums[i] += dots.sweeps(lines[i]->data, kRounds); }); });
  sink = std::accumulate(sums.begin(), sums.end(), uint64_t(0));
  return {seconds, 0, dots.ops * kRounds * workers};
}

/* Seconds until one core sees what another has written: some tens of nanoseconds between cores that share a cache, far
 * more between others. Virtual cores wander from one case to the other. */
Answer handover(Threads& threads) {
  if (threads.count() < 2) return {};
  constexpr int kTurns = 2000; /* a call is short: one that is interrupted does not become the median */
  alignas(64) std::atomic<int> turn{0};
  const double seconds = timed([&] {
    turn.store(0);
    threads.each_own(threads.count(), [&](int32_t, int32_t worker) {
      for (int k = 0; worker < 2 && k < kTurns; k++) {
        while (turn.load(std::memory_order_acquire) != 2 * k + worker)
          std::atomic_signal_fence(std::memory_order_seq_cst);
        turn.store(2 * k + worker + 1, std::memory_order_release);
      }
    });
  });
  return {seconds / (2 * kTurns)};
}

/* Seconds of a parallel section with nothing to do, while workers still spin for the next one. */
Answer section(Threads& threads) {
  return {timed([&] { threads.each(threads.count(), [](int32_t, int32_t) {}); })};
}

/* The same when workers have gone to sleep. */
Answer wake(Threads& threads) {
  using Clock = std::chrono::steady_clock;
  constexpr int kRuns = 51;
  std::vector<double> seconds;
  for (int i = 0; i < kRuns; i++) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    const auto start = Clock::now();
    threads.each(threads.count(), [](int32_t, int32_t) {});
    seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  std::nth_element(seconds.begin(), seconds.begin() + kRuns / 2, seconds.end());
  return {seconds[kRuns / 2]};
}

}  // namespace

Answer limit(const std::string& name, Threads& threads) {
  if (name == "read") return bandwidth(threads, false);
  if (name == "pages") return bandwidth(threads, true);
  if (name == "int8") return dots(threads, with_tiles(kTilesOfBytes, kInt8));
  if (name == "bf16") return dots(threads, with_tiles(kTilesOfBf16, kBf16));
  if (name == "f32") return dots(threads, kF32);
  if (name == "handover") return handover(threads);
  if (name == "section") return section(threads);
  if (name == "wake") return wake(threads);
  throw std::runtime_error("no limit " + name);
}

}  // namespace skv::bench
