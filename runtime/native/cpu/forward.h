/* The dense model between the policies' calls: what happens to a layer's tokens before and after attention. */
#ifndef SKV_FORWARD_H
#define SKV_FORWARD_H
#include "engine.h"

namespace skv {

/* Runs fn over a step's tokens: in parts, each on one worker from product to product without waiting for others, when
 * there are enough of them; else in one, whose products all workers share. Parts are as equal as whole tiles of 8
 * allow, and as many for every worker. */
template <class Fn>
void Engine::dense(int tokens, Fn&& fn) {
  const int workers = threads_.count(), rounds = (tokens + kTogether * workers - 1) / (kTogether * workers);
  const int part = (tokens + workers * rounds * 8 - 1) / (workers * rounds * 8) * 8;
  if (tokens < 16 * workers) return fn(Tokens{0, tokens});
  threads_.each((tokens + part - 1) / part, [&](int32_t i, int32_t worker) {
    fn(Tokens{i * part, i * part + part < tokens ? part : tokens - i * part, true, worker});
  });
}

}  // namespace skv
#endif
