#include "shape.h"

#include <algorithm>

#include "layout.h"
#include "policy.h"

namespace skv {
namespace {

/* Lanes a page has room for at least, for policies that are added later. */
constexpr int kMinLanes = 4;

}  // namespace

std::vector<skv_layer_shape> layer_shapes(const skv_model& m, const float* inv_freq) {
  const size_t half = m.head_dim / 2;
  std::vector<skv_layer_shape> layers(m.layers);
  for (int l = 0; l < m.layers; l++) {
    const size_t at = m.layer[l].rope * half;
    const bool rotates = std::any_of(m.inv_freq + at, m.inv_freq + at + half, [](float f) { return f != 0; });
    layers[l].window = m.layer[l].window;
    layers[l].inv_freq = rotates ? inv_freq + at : nullptr;
  }
  return layers;
}

int lanes_of(const skv_config& c, const char* target) {
  int lanes = kMinLanes;
  for (int i = 0; i < c.policies; i++) lanes = std::max(lanes, open_policy(c.policy[i], target)->lanes);
  return lanes;
}

skv_shape shape_of(const skv_config& c, int lanes, int io_type, const std::vector<skv_layer_shape>& layers) {
  const skv_model& m = c.model;
  skv_shape shape{};
  shape.layers = m.layers;
  shape.kv_heads = m.kv_heads;
  shape.group = m.heads / m.kv_heads;
  shape.head_dim = m.head_dim;
  shape.kv_type = c.kv_type;
  shape.lanes = lanes;
  shape.page_bytes = skv_layout_of(m.head_dim, skv_kv_bytes(c.kv_type), lanes).bytes;
  shape.table_stride = c.table_stride;
  shape.max_tokens = c.max_tokens;
  shape.max_slots = c.table_stride * SKV_PAGE;
  shape.max_rows = c.max_rows;
  shape.max_seqs = c.max_seqs;
  shape.pages = c.pages;
  shape.io_type = io_type;
  shape.scale = m.attention_scale;
  shape.soft_cap = m.attention_cap;
  shape.rope_interleaved = m.rope_interleaved;
  shape.layer = layers.data();
  return shape;
}

}  // namespace skv
