/* What happens to activations between products, and to logits: loops over the numbers of one token or head.
 *
 * All arrays are f32 and of any alignment. Nothing here knows of threads or of other tokens, so the bits are the same
 * whatever runs beside it. Few operations for each number that is read: bound by the caches. */
#ifndef SKV_ELEMENTWISE_H
#define SKV_ELEMENTWISE_H
#include "matmul.h"

namespace skv {

/* out[i] = x[i] * gain[i] / sqrt(mean(x^2) + eps); x, gain and out are [n]. */
void rms_norm(const float* x, const float* gain, float eps, int n, float* out);
/* x[i] += y[i] */
void add(float* x, const float* y, int n);
/* gate[i] = silu(gate[i]) * up[i], silu(x) = x / (1 + e^-x) */
void silu_multiply(float* gate, const float* up, int n);
/* Rotates one head of `dim` in place; cosines and sines are [dim / 2]. Pairs (2i, 2i + 1) or (i, i + dim / 2). */
void rope(float* head, const float* cosine, const float* sine, int dim, bool interleaved);

/* The largest of n > 0 numbers, NaN left out; -infinity when there is none. */
float max_of(const float* x, int n);
/* out[i] = e^((x[i] - max) * scale) for x <= max, 0 below e^-87: softmax before its division. Returns their sum. */
double exp_below(const float* x, float max, float scale, int n, float* out);

}  // namespace skv
#endif
