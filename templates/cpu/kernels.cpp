// The functions of skv_policy, for pages of any type.
#include "compact.hpp"
#include "prefill.hpp"

// What the passes rely on.
int32_t accepts(const skv_shape* s, const PolicyPasses& policy) {
  if (s->kv_type != SKV_BF16 && s->kv_type != SKV_F32) return SKV_E_SHAPE;
  if (s->io_type != SKV_F32) return SKV_E_SHAPE;
  if (s->head_dim < 16 || s->head_dim > kMaxDim || s->head_dim % 16) return SKV_E_SHAPE;
  if (s->group > kTileRows) return SKV_E_SHAPE;  // a token's rows lie in one tile
  if (policy.keep != Keep::all && policy.heads != Heads::own && s->kv_heads > kMostHeads) return SKV_E_HEADS;
  return tables_fit(policy.table_layers, policy.table_heads, s) ? 0 : SKV_E_TABLE;
}

int64_t scratch_bytes(const skv_shape* s, const PolicyPasses& policy) {
  const int64_t tile = tile_scratch(s, policy.observes),
                select = policy.keep == Keep::all ? 0 : select_scratch(s, policy);
  return std::max(tile, select);
}

int64_t step_floats(const skv_shape* s, const PolicyPasses& policy) { return StepScratch::floats(s, policy.observes); }

int32_t append(const skv_step* step, int32_t layer, const skv_exec* exec, const PolicyPasses& policy) {
  if (const int32_t code = accepts(step->shape, policy)) return code;
  return kernels_of(step->shape).append(step, layer, exec, policy);
}

int32_t attend(const skv_step* step, int32_t layer, const skv_exec* exec, const PolicyPasses& policy) {
  if (const int32_t code = accepts(step->shape, policy)) return code;
  return kernels_of(step->shape).attend(step, layer, exec, policy);
}

int32_t compact(const skv_step* step, const skv_exec* exec, const PolicyPasses& policy) {
  if (const int32_t code = accepts(step->shape, policy)) return code;
  return compact_units(step, exec, policy);
}
