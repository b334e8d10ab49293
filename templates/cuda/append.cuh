// append: the new tokens' keys, values and lanes go to the ends of their heads' pages; lengths rise; decode's counters
// are cleared. raise: lengths of rows that several blocks append to. copy_pages: pages whole.
//
//   append      grid (16-token tiles, kv_heads, rows), 128 threads
//               k, v [token][kv_head][dim] in io_type -> keys, values [slot][dim] in KV; position, class, first states
//               bytes: k and v read once, written once as KV. Bound by memory; for one token by the launch.
//   raise       grid (rows x kv_heads / 128), 128 threads: one a head. Bound by the launch.
//   copy_pages  grid (pairs), 128 threads: a page each. bytes: a page read and written. Bound by memory.
#pragma once
#include "scratch.cuh"
#include "slot.cuh"

constexpr int kAppendTokens = 16, kAppendThreads = 128, kPageThreads = 128;

// What the slots of tokens [t0, t0 + tokens) of a row have from when they are appended: of keys and values as the pages
// have them. Sixteen lanes a slot.
template <class P, class KV, int D>
SKV_INLINE void begin_slots(const Head<KV, D>& h, int t0, int tokens) {
  const Params params(h.s.params + (int64_t)h.row.seq * SKV_MAX_PARAMS);
  __syncthreads();  // the block's tokens are stored
  for (int i = threadIdx.x / kVecLanes; i < tokens; i += kAppendThreads / kVecLanes) {
    const int slot = (h.live + t0 + i) % SKV_PAGE;
    const Global<uint32_t> page = h.page((h.live + t0 + i) / SKV_PAGE);
    Vec key, value;
    if (P::begin_reads_key) key = read_vec<KV, D>(page, 0, slot);
    if (P::begin_reads_value) value = read_vec<KV, D>(page, h.values, slot);
    float states[P::states];
    read_states<P>(h, page, slot, states);
    P::begin(slot_at<P>(h, page, slot, 0, 0, 0.0f, &key, &value, params), states);
    __syncwarp(vec_mask());  // all lanes have read
    if (vec_lane() == 0) write_states<P>(h, page, slot, states);
  }
}

template <class P, class KV, int D>
__global__ void __launch_bounds__(kAppendThreads) append_kernel(Step s) {
  using L = Layout<KV, D>;
  const skv_row row = load_row(s, blockIdx.z);
  const int t0 = blockIdx.x * kAppendTokens;
  if (row.policy != s.self || t0 >= row.tokens) return;
  const Head<KV, D> h(s, row, s.layer, blockIdx.y);
  const int before = h.live, tokens = min(kAppendTokens, row.tokens - t0);
  for (int i = threadIdx.x; i < tokens * 2 * L::quads; i += kAppendThreads) {
    const int quad = i % L::quads, what = i / L::quads % 2, t = t0 + i / L::quads / 2;
    const int slot = before + t, word = what * L::half + slot % SKV_PAGE * L::row + quad * 4;
    const Global<const uint32_t> from = global(what ? s.v : s.k);
    const int64_t at = ((int64_t)(row.token0 + t) * s.kv_heads + h.head) * D + quad * L::per_quad;
    float x[L::per_quad];
  SKV_UNROLL for (int e = 0; e < L::per_quad; e += 2) load_pair(s, from, at + e, x + e);
    Quad out;
    SKV_UNROLL for (int w = 0; w < 4; w++) out.word[w] = KV::encode(x + w * KV::per_word);
    store_quad(h.page(slot / SKV_PAGE), word, out);
  }
  for (int i = threadIdx.x; i < tokens * P::lanes; i += kAppendThreads) {
    const int lane = i / tokens, t = t0 + i % tokens, slot = before + t;
    int32_t word = row.pos0 + t;
    if (P::shift_lane && lane == P::shift_lane) word = 0;
    if (P::class_lane && lane == P::class_lane) word = global(s.classes)[row.token0 + t];
    if (lane >= P::first_state && P::states) word = skv_bits(P::init(lane - P::first_state));
    h.page(slot / SKV_PAGE)[h.lanes + lane * SKV_PAGE + slot % SKV_PAGE] = (uint32_t)word;
  }
  if constexpr (P::begins) begin_slots<P>(h, t0, tokens);
  if (is_decode(row) && threadIdx.x < kMostParts)
    global((uint32_t*)s.logits)[StepScratch::counter(s.kv_heads, blockIdx.z, h.head, threadIdx.x)] = 0;
  if (row.tokens > kAppendTokens) return;  // other blocks still read the length: raise_kernel
  __syncthreads();
  if (threadIdx.x == 0) global(s.lengths)[h.index] = before + row.tokens;
}

static __global__ void raise_kernel(Step s) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= s.rows * s.kv_heads) return;
  const skv_row row = load_row(s, i / s.kv_heads);
  if (row.policy != s.self || row.tokens <= kAppendTokens) return;
  const int64_t index = ((int64_t)row.seq * s.layers + s.layer) * s.kv_heads + i % s.kv_heads;
  global(s.lengths)[index] += row.tokens;
}

// For a sequence that is about to write into pages that others read. pairs [n][2]: from, to.
static __global__ void copy_pages_kernel(uint32_t* pool, int page_words, const int32_t* pairs) {
  const int32_t from = global(pairs)[2 * blockIdx.x], to = global(pairs)[2 * blockIdx.x + 1];
  const Global<uint32_t> words = global(pool);
  for (int i = threadIdx.x * 4; i < page_words; i += blockDim.x * 4)
    store_quad(words, (int64_t)to * page_words + i, load_quad(words, (int64_t)from * page_words + i));
}
