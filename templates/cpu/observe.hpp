// Observing a prompt: for a page of slots the observed queries are walked in order and their logits computed again, the
// same bits as attend's, against the final log-sum-exp. (A decode query is observed by attend, which has its logits.)
#pragma once
#include "attend.hpp"

// Observed queries of a prompt chunk against the slots of one page.
template <class P, class KV>
void observe_page(const Head<KV>& h, int p, Scratch scratch) {
  const int g = h.shape->group, tile = kTileRows / g;
  const Tile<KV> buffers(&scratch, h.dim);
  const int before = *h.length - h.row->tokens, slot0 = p * SKV_PAGE;
  int t = h.row->observe0 - h.row->pos0;
  const int end = h.row->observe1 - h.row->pos0;
  if (before + t + 1 <= slot0) t = slot0 - before;  // earlier queries see nothing of this page
  for (; t < end; t += tile) {
    const int t1 = t + tile < end ? t + tile : end;
    const int rows = tile_queries(h, t, t1, buffers.q, buffers.sees);
    logits_of<P>(h, p, buffers.q, rows, buffers.logits, SKV_PAGE, buffers.turned);
    for (int i = t; i < t1; i++) {
      const int live = before + i + 1, visible = live - slot0 < SKV_PAGE ? live - slot0 : SKV_PAGE;
      advance<P>(h, p, visible, h.row->pos0 + i, live,
                 page_attn<P>(buffers.logits + (i - t) * g * SKV_PAGE, SKV_PAGE, h.lse(i), g));
    }
  }
}

template <class P, class KV>
int32_t observe(const skv_step* step, int32_t layer, const skv_exec* exec) {
  if constexpr (P::observes) {
    const int heads = step->shape->kv_heads;
    const Schedule& plan = schedule;  // of the attend just before, on this thread
    constexpr int kPages = 16;        // pages of an item
    const auto observed = [&](int r) {
      const skv_row* row = step->row + r;
      return row->policy == step->self && row->observe1 > row->observe0 && plan.place[r] < 0;
    };
    int most = 0;
    for (int r = 0; r < step->rows; r++)
      for (int h = 0; observed(r) && h < heads; h++) {
        const int pages = (*Head<KV>(step, step->row + r, layer, h).length + SKV_PAGE - 1) / SKV_PAGE;
        most = pages > most ? pages : most;
      }
    const int pieces = (most + kPages - 1) / kPages;
    each(exec, step->rows * heads * pieces, [&](int32_t item, int32_t worker) {
      const int r = item / (heads * pieces), piece = item % pieces;
      if (!observed(r)) return;
      const Head<KV> h(step, step->row + r, layer, item / pieces % heads);
      const int pages = (*h.length + SKV_PAGE - 1) / SKV_PAGE;
      const int page1 = (piece + 1) * kPages < pages ? (piece + 1) * kPages : pages;
      for (int p = piece * kPages; p < page1; p++) observe_page<P>(h, p, Scratch(exec, worker));
    });
  }
  return 0;
}
