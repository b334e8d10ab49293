#include "check.h"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace skv {
namespace {

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error("bad step: " + what); }

/* Slots of a window layer before the token at position `pos`: whole pages that it does not see are gone. */
int window_slots(int window, int pos) {
  const int first = std::max(0, pos + 1 - window);
  return pos - first / SKV_PAGE * SKV_PAGE;
}

/* A row must name a sequence, policy and pages that are there. */
void check_row(int r, const skv_buffers& b, const skv_shape& shape, int policies) {
  const skv_row& row = b.row[r];
  if (row.seq < 0 || row.seq >= shape.max_seqs) fail("sequence " + std::to_string(row.seq));
  if (row.policy < 0 || row.policy >= policies) fail("policy " + std::to_string(row.policy));
  size_t head = size_t(row.seq) * shape.layers * shape.kv_heads;
  for (int layer = 0; layer < shape.layers; layer++) {
    const int window = shape.layer[layer].window;
    for (const size_t end = head + shape.kv_heads; head < end; head++) {
      const int length = b.length[head];
      if (length < 0 || length > shape.max_slots - row.tokens) fail("length of row " + std::to_string(r));
      if (window && length != window_slots(window, row.pos0)) fail("window of row " + std::to_string(r));
      const int32_t* table = b.table + head * shape.table_stride;
      const int pages = (length + row.tokens + SKV_PAGE - 1) / SKV_PAGE;
      if (b.changed[head] < 0) fail("changed entries of row " + std::to_string(r));
      for (int p = b.changed[head]; p < pages; p++) /* those before were looked at when they were new */
        if (table[p] < 1 || table[p] >= shape.pages)
          fail("page " + std::to_string(table[p]) + " in the table of row " + std::to_string(r));
    }
  }
}

}  // namespace

void check_step(const skv_step_counts& n, const skv_buffers& b, const skv_shape& shape, const StepLimits& limits) {
  if (n.tokens < 1 || n.tokens > shape.max_tokens) fail(std::to_string(n.tokens) + " tokens");
  if (n.rows < 1 || n.rows > shape.max_rows) fail(std::to_string(n.rows) + " rows");
  if (n.samplers < 0 || n.samplers > shape.max_tokens) fail(std::to_string(n.samplers) + " samplers");
  if (n.copies < 0 || n.copies > limits.max_copies) fail(std::to_string(n.copies) + " copies");
  for (int i = 0; i < n.tokens; i++)
    if (b.token[i] < 0 || b.token[i] >= limits.vocab) fail("token id " + std::to_string(b.token[i]));
  for (int i = 0; i < n.samplers; i++) {
    if (b.sampler[i].source < 0 || b.sampler[i].source >= n.tokens) fail("sampler without a token");
    if (b.sampler[i].mask < -1 || b.sampler[i].mask >= shape.max_seqs) fail("sampler without its mask");
  }
  int token0 = 0; /* rows have the step's tokens, in order */
  for (int r = 0; r < n.rows; r++) {
    const skv_row& row = b.row[r];
    if (row.tokens < 1 || row.token0 != token0 || row.tokens > n.tokens - token0)
      fail("tokens of row " + std::to_string(r));
    token0 += row.tokens;
    check_row(r, b, shape, limits.policies);
  }
}

}  // namespace skv
