/* What attention of the last layer is asked for: a step's rows without the first tokens that nobody needs there, for no
 * logits are read of them and no policy observes them. */
#ifndef SKV_LAST_ROWS_H
#define SKV_LAST_ROWS_H
#include <algorithm>

#include "backend.h"

namespace skv {

/* place [tokens]: of logit_tokens.h. Of tokens that are observed alone no output is read. A row of one token stays,
 * since on the CPU attend is what stores it. No other row becomes one of one token after its prompt, which on a device
 * is what a generated one looks like. */
inline void cut_last_rows(const skv_row* row, int rows, const int32_t* place, skv_row* out) {
  for (int r = 0; r < rows; r++) {
    skv_row& last = out[r];
    last = row[r];
    if (last.tokens == 1) continue;
    const int most = last.observe1 > last.observe0 ? last.observe0 - last.pos0 : last.tokens;
    int unread = 0;
    while (unread < last.tokens && place[last.token0 + unread] < 0) unread++;
    last.read0 = last.pos0 + unread;
    int cut = std::min(unread, most);
    if (last.tokens - cut == 1 && last.pos0 + cut >= last.prompt) cut--;
    last.token0 += cut;
    last.pos0 += cut;
    last.tokens -= cut;
  }
}

}  // namespace skv
#endif
