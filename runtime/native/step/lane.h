/* A lane of a head's slots, where the pool has it. */
#ifndef SKV_LANE_H
#define SKV_LANE_H
#include <algorithm>

#include "backend.h"
#include "layout.h"

namespace skv {

/* fn(byte of the pool, first slot, slots) for each page of the live slots of a sequence's head, in order: their 32-bit
 * words lie there side by side. Returns how many slots there are, or -1 if there is no such lane. */
template <class Fn>
int each_lane_page(const skv_shape& shape, const skv_buffers& buffers, int seq, int layer, int head, int lane,
                   Fn&& fn) {
  if (seq < 0 || seq >= shape.max_seqs || layer < 0 || layer >= shape.layers || head < 0 || head >= shape.kv_heads ||
      lane < 0 || lane >= shape.lanes)
    return -1;
  const size_t index = (size_t(seq) * shape.layers + layer) * shape.kv_heads + head;
  const int length = buffers.length[index];
  const skv_page_layout layout = skv_layout_of(shape.head_dim, skv_kv_bytes(shape.kv_type), shape.lanes);
  for (int s = 0; s < length; s += SKV_PAGE) {
    const size_t page = buffers.table[index * shape.table_stride + s / SKV_PAGE];
    const size_t at = page * layout.bytes + layout.lanes + lane * SKV_PAGE * sizeof(int32_t); /* [lane][slot] */
    fn(at, s, std::min(SKV_PAGE, length - s));
  }
  return length;
}

}  // namespace skv
#endif
