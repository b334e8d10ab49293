// A problem for one policy library: what test/kernels/driver.ts writes, as driver.cpp and the GPU's driver read it, and
// what an engine would know besides: sizes, tables, hints.
//
//   i32 kv_type io_type layers kv_heads group head_dim max_tokens max_slots interleaved seqs window
//   f32 soft_cap
//   i32 workers repeat ops
//   f32 inv_freq [head_dim / 2]
//   then the ops, each an i32 and its words:
//
//   1 step   i32 rows tokens, skv_row [rows], i32 budgets [seq][layer], classes [token], f32 params [seq][16]
//            per layer f32 q [token][query head][dim], k and v [token][KV head][dim]
//   answer   per layer f32 out [token][query head][dim], lse [token][query head]
//            i32 lengths [seq][layer][KV head]
//   2 read   i32 seq layer head
//   answer   i32 live, lanes [lane][live], f32 keys and values [live][dim]
//   3 copy   i32 seq layer head, twice: the first page of one becomes the other's, with its length
//   answer   none
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "abi.h"
#include "layout.h"

inline uint16_t to_bf16(float x) {  // to nearest, ties to even
  uint32_t bits;
  memcpy(&bits, &x, 4);
  return x != x ? 0x7fc0 : uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
inline float from_bf16(uint16_t word) {
  const uint32_t bits = (uint32_t)word << 16;
  float x;
  memcpy(&x, &bits, 4);
  return x;
}
inline uint16_t to_f16(float x) {  // to nearest, ties to even
  const uint16_t sign = std::signbit(x) ? 0x8000 : 0;
  const float size = std::fabs(x);
  if (x != x) return 0x7e00;
  if (size >= 65520.0f) return sign | 0x7c00;
  if (size < 6.103515625e-5f) return sign | (uint16_t)std::nearbyint(size * 16777216.0f);
  int exponent;
  std::frexp(size, &exponent);
  return sign | (uint16_t)(((exponent + 14) << 10) + ((int)std::nearbyint(std::ldexp(size, 11 - exponent)) - 1024));
}
inline float from_f16(uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const float size = exponent == 31  ? (fraction ? NAN : INFINITY)
                     : exponent == 0 ? std::ldexp((float)fraction, -24)
                                     : std::ldexp((float)(fraction + 1024), exponent - 25);
  return bits >> 15 ? -size : size;
}

// f32 numbers in a type of abi.h, as bytes, and back.
inline std::vector<uint8_t> encode(const float* x, size_t n, int type) {
  std::vector<uint8_t> out(n * skv_kv_bytes(type));
  if (type == SKV_F32) {
    memcpy(out.data(), x, out.size());
    return out;
  }
  auto* words = (uint16_t*)out.data();
  for (size_t i = 0; i < n; i++) words[i] = type == SKV_BF16 ? to_bf16(x[i]) : to_f16(x[i]);
  return out;
}
inline std::vector<float> decode(const uint8_t* bytes, size_t n, int type) {
  std::vector<float> out(n);
  if (type == SKV_F32) {
    memcpy(out.data(), bytes, n * 4);
    return out;
  }
  const auto* words = (const uint16_t*)bytes;
  for (size_t i = 0; i < n; i++) out[i] = type == SKV_BF16 ? from_bf16(words[i]) : from_f16(words[i]);
  return out;
}

// Words that are read from front to back. Throws, with their name, where they end early.
class Words {
 public:
  Words(std::string name, std::vector<char> bytes) : name_(std::move(name)), bytes_(std::move(bytes)) {}
  const char* take(size_t bytes) {
    if (at_ + bytes > bytes_.size()) throw std::runtime_error(name_ + " ends early");
    at_ += bytes;
    return bytes_.data() + at_ - bytes;
  }
  template <class T>
  T one() {
    T value;
    memcpy(&value, take(sizeof(T)), sizeof(T));
    return value;
  }
  int32_t word() { return one<int32_t>(); }
  template <class T>
  std::vector<T> list(size_t n) {
    std::vector<T> out(n);
    const char* from = take(n * sizeof(T));
    if (n) memcpy(out.data(), from, n * sizeof(T));
    return out;
  }
  // The same words from another place on.
  Words at(size_t from) const {
    Words other = *this;
    other.at_ = from;
    return other;
  }
  size_t position() const { return at_; }
  bool ended() const { return at_ == bytes_.size(); }

 private:
  std::string name_;
  std::vector<char> bytes_;
  size_t at_ = 0;
};

enum Op { kStep = 1, kRead = 2, kCopy = 3 };

// What stands before the ops.
struct Problem {
  skv_shape shape = {};  // what complete() needs
  int window;            // of every layer
  int workers, repeat, ops;
  std::vector<float> inv_freq;

  explicit Problem(Words* words) {
    shape.kv_type = words->word();
    shape.io_type = words->word();
    shape.layers = words->word();
    shape.kv_heads = words->word();
    shape.group = words->word();
    shape.head_dim = words->word();
    shape.max_tokens = words->word();
    shape.max_slots = words->word();
    shape.rope_interleaved = words->word();
    shape.max_seqs = words->word();
    window = words->word();
    shape.soft_cap = words->one<float>();
    workers = words->word();
    repeat = words->word();
    ops = words->word();
    inv_freq = words->list<float>(shape.head_dim / 2);
  }
};

// A step without its layers' numbers.
struct Step {
  std::vector<skv_row> rows;
  std::vector<int32_t> budgets;  // [seq][layer]
  std::vector<int32_t> classes;  // [token]
  std::vector<float> params;     // [seq][SKV_MAX_PARAMS]

  Step() = default;
  Step(Words* words, const skv_shape& s) {
    const int count = words->word(), tokens = words->word();
    rows = words->list<skv_row>(count);
    budgets = words->list<int32_t>((size_t)s.max_seqs * s.layers);
    classes = words->list<int32_t>(tokens);
    params = words->list<float>((size_t)s.max_seqs * SKV_MAX_PARAMS);
  }
  int tokens() const { return (int)classes.size(); }
  bool compacts() const {
    return std::any_of(rows.begin(), rows.end(), [](const skv_row& row) { return row.compact; });
  }
  bool observes() const {
    return std::any_of(rows.begin(), rows.end(), [](const skv_row& row) { return row.observe1 > row.observe0; });
  }
};

// One layer's numbers of a step.
struct LayerInput {
  std::vector<float> q, k, v;
  LayerInput(Words* words, const skv_shape& s, int tokens) {
    const size_t kv = (size_t)tokens * s.kv_heads * s.head_dim;
    q = words->list<float>(kv * s.group);
    k = words->list<float>(kv);
    v = words->list<float>(kv);
  }
};

// Which head: its place in lengths and, times table_stride, in tables.
inline int read_head(Words* words, const skv_shape& s) {
  const int seq = words->word(), layer = words->word(), head = words->word();
  return (seq * s.layers + layer) * s.kv_heads + head;
}

// What follows from layers, kv_heads, group, head_dim, the types, max_tokens, max_slots and max_seqs: room for as many
// slots of every sequence.
inline skv_shape complete(const skv_policy* policy, skv_shape s) {
  s.lanes = policy->lanes;
  s.page_bytes = skv_layout_of(s.head_dim, skv_kv_bytes(s.kv_type), s.lanes).bytes;
  s.table_stride = (s.max_slots + SKV_PAGE - 1) / SKV_PAGE;
  s.pages = s.max_seqs * s.layers * s.kv_heads * s.table_stride + 1;
  if (s.max_rows == 0) s.max_rows = s.max_seqs;
  s.scale = 1 / std::sqrt((float)s.head_dim);
  return s;
}

// What layers are, when all are alike; what it points at lives as long as the answer is used.
inline std::vector<skv_layer_shape> layers_of(const skv_shape& s, int window, const float* inv_freq) {
  skv_layer_shape layer = {};
  layer.window = window;
  layer.inv_freq = inv_freq;
  return std::vector<skv_layer_shape>(s.layers, layer);
}

// Tables of every head: pages in a scattered order, none twice, not the null page.
inline std::vector<int32_t> scattered_tables(const skv_shape& s) {
  const int pages = s.pages - 1;
  std::vector<int32_t> table(pages);
  int stride = pages / 2 + 1;
  while (std::gcd(stride, pages) != 1) stride++;
  for (int i = 0; i < pages; i++) table[i] = 1 + (int)((int64_t)i * stride % pages);
  return table;
}

// What an engine knows of a step before it runs.
inline skv_hints hints_of(const std::vector<skv_row>& rows, const skv_shape& s, const std::vector<int32_t>& lengths) {
  skv_hints hints = {};
  for (const skv_row& row : rows) {
    hints.compact_rows += row.compact;
    const int heads = s.layers * s.kv_heads;
    for (int h = row.seq * heads; h < (row.seq + 1) * heads; h++)
      hints.slots = std::max(hints.slots, lengths[h] + row.tokens);
    if (row.tokens == 1 && row.pos0 >= row.prompt) {
      hints.decode_rows++;
    } else {
      hints.prompt_tokens = std::max(hints.prompt_tokens, row.tokens);
      hints.observed_tokens = std::max(hints.observed_tokens, row.observe1 - row.observe0);
    }
  }
  return hints;
}
