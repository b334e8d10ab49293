/* What happens to activations between products, token by token: the same bits whatever runs beside it. */
#ifndef SKV_ELEMENTWISE_H
#define SKV_ELEMENTWISE_H
#include "matmul.h"

namespace skv {

/* out[i] = x[i] * gain[i] / sqrt(mean(x^2) + eps) */
void rms_norm(const float* x, const float* gain, float eps, int n, float* out);
/* x[i] += y[i] */
void add(float* x, const float* y, int n);
/* gate[i] = silu(gate[i]) * up[i] */
void silu_multiply(float* gate, const float* up, int n);
/* Rotates one head of `dim` in place; cosines and sines are [dim / 2]. Pairs (2i, 2i + 1) or (i, i + dim / 2). */
void rope(float* head, const float* cosine, const float* sine, int dim, bool interleaved);

/* The largest of n > 0 numbers, NaN left out; -infinity when there is none. */
float largest(const float* x, int n);
/* out[i] = e^((x[i] - top) * scale) for x <= top, 0 below e^-87; returns their sum. */
double weigh(const float* x, float top, float scale, int n, float* out);

}  // namespace skv
#endif
