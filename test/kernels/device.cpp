/* Parts of the CUDA backend, emulated, beside what the CPU makes of the same numbers:
 *
 *   draws SEED                              random records over random logits: draws, and what they tell, bit for bit
 *   product TYPE ROWS COLS TOKENS WIDE FILE weights of a file: the product, and rows as plain numbers
 *
 * Prints a line of JSON. */
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <limits>
#include <random>
#include <set>

#include "device.h"
#include "device_sampler.h"
#include "outbox.h"
#include "quantised.h"
#include "sampler.h"
#include "weight_types.h"

namespace {

using Random = std::mt19937;

int below(Random& random, int n) { return int(random() % unsigned(n)); }
template <class T>
T one_of(Random& random, std::initializer_list<T> of) {
  return of.begin()[below(random, int(of.size()))];
}
float normal(Random& random) { return std::normal_distribution<float>()(random); }

constexpr int kDraws = 3, kSeqs = 3, kHistory = 2 * SKV_PAGE;

/* What the records of a step read, as the shared arrays have it. */
struct Shared {
  std::vector<skv_sampler> sampler = std::vector<skv_sampler>(kDraws);
  std::vector<skv_sampled> sampled = std::vector<skv_sampled>(kDraws), wanted = sampled;
  std::vector<int32_t> history = std::vector<int32_t>(kSeqs * kHistory);
  std::vector<int32_t> bias_token = std::vector<int32_t>(kSeqs * SKV_MAX_BIASES), mask;
  std::vector<float> bias_value = std::vector<float>(kSeqs * SKV_MAX_BIASES);
  skv_buffers buffers() {
    skv_buffers b{};
    b.sampler = sampler.data();
    b.sampled = sampled.data();
    b.history = history.data();
    b.bias_token = bias_token.data();
    b.bias_value = bias_value.data();
    b.mask = mask.data();
    return b;
  }
};

float random_logit(Random& random, int style) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  if (style == 0) return normal(random) * 3;
  if (style == 1) return std::round(normal(random) * 4) / 2;           /* ties, zeros of both signs */
  if (style == 2) return below(random, 3) ? -kInf : normal(random);    /* little to choose from */
  if (style == 3) return below(random, 8) ? normal(random) * 40 : NAN; /* what nobody should give */
  if (style == 4) return 1;                                            /* all alike */
  return style == 5 ? NAN : -kInf;
}

/* Draw i of a step: histories, biases and masks lie one after another. */
void random_record(Random& random, int vocab, int i, Shared& shared) {
  skv_sampler& s = shared.sampler[i];
  s = {};
  s.temperature = one_of(random, {0.0f, 0.3f, 1.0f, 1.0f, 2.5f});
  s.top_p = one_of(random, {1.0f, 1.0f, 0.999f, 0.9f, 0.3f, 0.0f});
  s.min_p = one_of(random, {0.0f, 0.0f, 0.02f, 0.4f, 1.0f});
  s.top_k = one_of(random, {0, 0, 1, 5, 40, 2500});
  s.repetition = one_of(random, {1.0f, 1.0f, 1.3f, 0.8f});
  s.presence = one_of(random, {0.0f, 0.0f, 0.5f});
  s.frequency = one_of(random, {0.0f, 0.0f, -0.25f, 0.7f});
  s.seed_lo = int32_t(random());
  s.seed_hi = int32_t(random());
  s.position = below(random, 5000);
  s.history0 = i * kHistory;
  s.history1 = s.history0 + below(random, kHistory + 1);
  s.generated0 = s.history0 + below(random, kHistory);
  for (int k = s.history0; k < s.history1; k++) shared.history[k] = below(random, std::min(vocab, 12));
  s.bias0 = i * 40;
  s.bias1 = s.bias0 + one_of(random, {0, 0, 1, 40});
  for (int k = s.bias0; k < s.bias1; k++) {
    shared.bias_token[k] = below(random, std::min(vocab, 25)); /* some of them twice */
    shared.bias_value[k] = below(random, 6) ? normal(random) : -std::numeric_limits<float>::infinity();
  }
  s.mask = below(random, 3) ? -1 : i;
  const int words = SKV_MASK_WORDS(vocab);
  for (int w = 0; w < words; w++) shared.mask[i * words + w] = below(random, 10) ? int32_t(random()) : 0;
  s.logprobs = one_of(random, {-1, -1, 0, 3, SKV_MAX_LOGPROBS});
  s.target = below(random, 6) ? -1 : below(random, vocab);
}

bool same_bits(float a, float b) { return (a != a && b != b) || memcmp(&a, &b, 4) == 0; }

bool same(const skv_sampler& s, int vocab, const skv_sampled& a, const skv_sampled& b) {
  if (a.token != b.token) return false;
  if (s.logprobs < 0) return true;
  bool yes = same_bits(a.logprob, b.logprob);
  for (int i = 0; i < std::min(s.logprobs, vocab); i++)
    yes = yes && a.alternatives[i] == b.alternatives[i] &&
          same_bits(a.alternative_logprobs[i], b.alternative_logprobs[i]);
  return yes;
}

void tell(const skv_sampler& s, int vocab, int step, const skv_sampled& got, const skv_sampled& wanted) {
  fprintf(stderr,
          "vocab %d, step %d: token %d, the CPU has %d; log-probability %g, %g. temperature %g, top_k %d, top_p %g, "
          "min_p %g, penalties %g %g %g of %d, %d biases, mask %d, logprobs %d, target %d\n",
          vocab, step, got.token, wanted.token, got.logprob, wanted.logprob, s.temperature, s.top_k, s.top_p, s.min_p,
          s.repetition, s.presence, s.frequency, s.history1 - s.history0, s.bias1 - s.bias0, s.mask, s.logprobs,
          s.target);
}

int draws(unsigned seed) {
  Random random(seed);
  std::set<int> tokens;
  int total = 0, different = 0;
  for (const int vocab : {1, 31, 300, 1500, 4200}) {
    const auto device = skv::Device::open();
    skv_config config{};
    config.model.vocab = vocab;
    config.max_seqs = kSeqs;
    config.max_tokens = kDraws;
    config.table_stride = kHistory / SKV_PAGE;
    Shared shared;
    shared.mask.resize(size_t(kSeqs) * SKV_MASK_WORDS(vocab));
    const skv_buffers buffers = shared.buffers();
    skv::DeviceSampler sampler(*device, config, buffers);
    skv::Outbox outbox(*device, skv::DeviceSampler::most_words(config), skv::DeviceSampler::kPuts);
    skv::DeviceArray<float> on_device(*device, size_t(SKV_KEPT_LOGITS) * vocab, "logits of draws");
    std::vector<float> logits(size_t(kDraws) * vocab);
    skv::Sampling sampling;
    for (int step = 0; step < (vocab > 2000 ? 12 : 40); step++) {
      for (int i = 0; i < kDraws; i++) {
        const int style = one_of(random, {0, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6});
        for (int t = 0; t < vocab; t++) logits[size_t(i) * vocab + t] = random_logit(random, style);
        random_record(random, vocab, i, shared);
        sampling.draw(shared.sampler[i], buffers, &logits[size_t(i) * vocab], vocab, &shared.wanted[i]);
      }
      device->upload(on_device.data(), logits.data(), logits.size() * sizeof(float));
      sampler.put(outbox, kDraws, kDraws);
      outbox.send();
      sampler.draw(on_device.data(), 0, kDraws);
      sampler.download(kDraws);
      device->wait();
      sampler.tell(kDraws);
      for (int i = 0; i < kDraws; i++, total++) {
        tokens.insert(shared.wanted[i].token);
        if (same(shared.sampler[i], vocab, shared.sampled[i], shared.wanted[i])) continue;
        if (different++ == 0) tell(shared.sampler[i], vocab, step, shared.sampled[i], shared.wanted[i]);
      }
    }
  }
  printf("{\"draws\":%d,\"different\":%d,\"tokens\":%d}\n", total, different, int(tokens.size()));
  return 0;
}

uint32_t bf16_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
float of_bf16(uint32_t half) {
  const uint32_t bits = half << 16;
  float out;
  memcpy(&out, &bits, 4);
  return out;
}

/* Numbers as the device has them, f32 or bf16. */
std::vector<uint32_t> on_device_as(bool wide, std::vector<float>& numbers) {
  std::vector<uint32_t> words(wide ? numbers.size() : numbers.size() / 2);
  for (size_t i = 0; i < numbers.size(); i++) {
    if (wide) {
      memcpy(&words[i], &numbers[i], 4);
    } else {
      words[i / 2] |= bf16_of(numbers[i]) << (i % 2 * 16);
      numbers[i] = of_bf16(bf16_of(numbers[i]));
    }
  }
  return words;
}

/* Weights in doubles, and the sizes of what they are sums of. */
struct Meant {
  std::vector<double> value, size;
};
Meant meant_by(const skv::WeightType& type, const std::vector<uint8_t>& bytes, int rows, int cols) {
  const double zero = type.format == skv::Format::Q6 ? skv::kQ6Zero : type.format == skv::Format::Q8 ? skv::kQ8Zero : 0;
  Meant out;
  const size_t row_bytes = size_t(cols) / type.elements * type.bytes;
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < cols; c++) {
      skv::FileBlock block;
      type.read(bytes.data() + r * row_bytes, c / skv::kBlock, &block);
      const int i = c % skv::kBlock;
      const double product = double(block.d[i / 16]) * (block.w[i] - zero), m = block.m[i / 16];
      out.value.push_back(product + m);
      out.size.push_back(std::fabs(product) + std::fabs(m));
    }
  return out;
}

int product(int type, int rows, int cols, int tokens, bool wide, const char* file) {
  std::ifstream in(file, std::ios::binary);
  const std::vector<uint8_t> bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  const Meant meant = meant_by(*skv::find_weight_type(type), bytes, rows, cols);
  const size_t row_bytes = bytes.size() / rows, words = skv::row_words(row_bytes);
  const auto device = skv::Device::open();
  skv::DeviceArray<uint32_t> w(*device, words * rows, "weights");
  for (int r = 0; r < rows; r++) device->upload(w.data() + words * r, bytes.data() + row_bytes * r, row_bytes);
  Random random(1);
  std::vector<float> x(size_t(tokens) * cols);
  for (float& each : x) each = normal(random);
  const std::vector<uint32_t> x_words = on_device_as(wide, x);
  skv::DeviceArray<uint32_t> x_there(*device, x_words.size(), "x"), plain(*device, size_t(rows) * cols, "plain");
  device->upload(x_there.data(), x_words.data(), x_words.size() * 4);
  const int stride = rows + 3; /* a product beside others */
  skv::DeviceArray<float> out(*device, size_t(tokens) * stride, "out");
  const skv::QuantisedType& quantised = *skv::find_quantised(type);
  skv::QuantisedProduct of{};
  of.w = w.data();
  of.x = x_there.data();
  of.out = out.data();
  of.rows = rows;
  of.cols = cols;
  of.row_words = int(words);
  of.tokens = tokens;
  of.stride = stride;
  of.wide = wide;
  skv::Dequantise rows_of{};
  rows_of.w = w.data();
  rows_of.out = plain.data();
  rows_of.n = rows;
  rows_of.cols = cols;
  rows_of.row_words = int(words);
  rows_of.wide = wide;
  if (quantised.multiply(of, device->stream()) || quantised.dequantise(rows_of, device->stream())) return 1;
  double worst = 0, worst_plain = 0;
  for (int t = 0; t < tokens; t++)
    for (int r = 0; r < rows; r++) {
      double sum = 0, size = 0;
      for (int c = 0; c < cols; c++) {
        const size_t i = size_t(r) * cols + c;
        sum += meant.value[i] * x[size_t(t) * cols + c];
        size += meant.size[i] * std::fabs(x[size_t(t) * cols + c]);
      }
      worst = std::fmax(worst, std::fabs(out.data()[size_t(t) * stride + r] - sum) / size);
    }
  for (size_t i = 0; i < meant.value.size(); i++) {
    float got;
    memcpy(&got, &plain.data()[i], 4);
    if (!wide) got = of_bf16(plain.data()[i / 2] >> (i % 2 * 16) & 0xffff);
    worst_plain = std::fmax(worst_plain, std::fabs(got - meant.value[i]) / meant.size[i]);
  }
  printf("{\"product\":%.3g,\"plain\":%.3g}\n", worst, worst_plain);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && !strcmp(argv[1], "draws")) return draws(unsigned(atoi(argv[2])));
  if (argc == 8 && !strcmp(argv[1], "product"))
    return product(atoi(argv[2]), atoi(argv[3]), atoi(argv[4]), atoi(argv[5]), atoi(argv[6]) != 0, argv[7]);
  return 2;
}
