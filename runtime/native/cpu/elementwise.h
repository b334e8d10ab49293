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
/* out[i] = (x[i] - mean) * gain[i] / sqrt(variance + eps) + bias[i]; a null bias is 0. */
void layer_norm(const float* x, const float* gain, const float* bias, float eps, int n, float* out);
/* x[i] += y[i] * scale */
void add(float* x, const float* y, float scale, int n);
/* x[i] *= scale */
void scale(float* x, float scale, int n);
/* x[i] = cap * tanh(x[i] / cap) */
void soft_cap(float* x, float cap, int n);
/* gate[i] = f(gate[i]) * up[i]; without the product where up is null. */
void silu(float* gate, const float* up, int n);      /* x / (1 + e^-x) */
void gelu(float* gate, const float* up, int n);      /* x * (1 + erf(x / sqrt 2)) / 2 */
void gelu_tanh(float* gate, const float* up, int n); /* x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2 */
void relu(float* gate, const float* up, int n);      /* max(x, 0) */
/* Rotates one head of `dim` in place; cosines and sines are [dim / 2]. Pairs (2i, 2i + 1) or (i, i + dim / 2). */
void rope(float* head, const float* cosine, const float* sine, int dim, bool interleaved);

/* The largest of n > 0 numbers, NaN left out; -infinity when there is none. */
float max_of(const float* x, int n);
/* out[i] = e^((x[i] - max) * scale) for x <= max: softmax before its division. 0 below e^-87, below `least`, and where
 * that is no number. Returns their sum: number i is added in lane i % 16, the lanes in order in f64. */
double softmax_piece(const float* x, float max, float scale, float least, int n, float* out);

}  // namespace skv
#endif
