// The dense model's kernels: everything but products. What families differ in is a record's numbers, as on the CPU.
//
//   x        [token][width] f32, the residual stream
//   h        [token][width] f32, the product that is still to be added to it
//   products are f32; what goes into products (normed, gated, out) is of the dense type T: F32 or Bf16; so are q, k, v,
//   but where attention runs elsewhere, in f32
//
//   rotations     grid (tokens)          position -> cosine, sine [token][rope][head_dim / 2], in f64
//   embed         grid (tokens)          token, position -> x
//   add_and_norm  grid (tokens)          x, h -> x; norm of x -> normed. Bound by memory: h and x read, x and normed
//                                        written; a norm reads x once more, out of the caches
//   finish_heads  grid (tokens, heads)   qkv -> q, k, v. A warp a head
//   activate      grid (tokens, pieces)  gate, up -> gated
//   gather        grid (tokens)          rows of some tokens side by side
//   round         grid (tokens)          out in f32, where attention ran elsewhere -> out
//   cap           grid (pieces, draws)   logits -> cap * tanh(logits / cap)
//
// A token's numbers depend on nothing but the token: sums go over threads and lanes in one order.
#pragma once
#include "cuda/layout.cuh"

constexpr int kDenseThreads = 256, kDenseWarps = kDenseThreads / 32, kHeadThreads = 32, kPieceWords = 2048;

struct NormNumbers {
  const float* gain;  // [n]; null: there is no norm
  const float* bias;  // [n] or null
  float eps;
  int kind;  // SKV_NORM_…; of rmsPlusOne the gain has its 1 already
};

SKV_INLINE float warp_sum(float x) {
  SKV_UNROLL for (int n = 16; n > 0; n /= 2) x += __shfl_xor_sync(kFull, x, n);
  return x;
}

// Sum over a block's threads, the same in all of them; `warps` [kDenseWarps].
SKV_INLINE float dense_sum(Shared<float> warps, float x) {
  x = warp_sum(x);
  if (blockDim.x == 32) return x;
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = x;
  __syncthreads();
  float sum = 0;
  for (int w = 0; w < int(blockDim.x) / 32; w++) sum += warps[w];
  __syncthreads();
  return sum;
}

// What a norm does to one number, once its sums are known.
struct Normed {
  NormNumbers norm;
  float mean, scale;
  __device__ __forceinline__ float operator()(float x, int i) const {
    const float y = (x - mean) * scale * global(norm.gain)[i];
    return norm.bias ? y + global(norm.bias)[i] : y;
  }
};

// Sums of read(i) over [0, n), pairs of numbers dealt out to the block's threads. Ends behind a barrier.
template <class Read>
SKV_INLINE Normed norm_of(const NormNumbers& norm, int n, Shared<float> warps, Read read) {
  Normed out{norm, 0, 1};
  if (norm.kind == SKV_NORM_LAYER) {
    float sum = 0;
    for (int i = 2 * threadIdx.x; i < n; i += 2 * blockDim.x) sum += read(i) + read(i + 1);
    out.mean = dense_sum(warps, sum) / float(n);
  }
  float squares = 0;
  for (int i = 2 * threadIdx.x; i < n; i += 2 * blockDim.x) {
    const float a = read(i) - out.mean, b = read(i + 1) - out.mean;
    squares += a * a + b * b;
  }
  out.scale = 1.0f / sqrtf(dense_sum(warps, squares) / float(n) + norm.eps);
  return out;
}

// Numbers 2 i and 2 i + 1 of an array of the dense type.
template <class T>
SKV_INLINE void load_two(Global<const uint32_t> from, int64_t i, float* out) {
  if (T::per_word == 2) {
    T::decode(from[i], out);
  } else {
    T::decode(from[2 * i], out);
    T::decode(from[2 * i + 1], out + 1);
  }
}
template <class T>
SKV_INLINE void store_two(Global<uint32_t> to, int64_t i, const float* x) {
  if (T::per_word == 2) {
    to[i] = T::encode(x);
  } else {
    to[2 * i] = T::encode(x);
    to[2 * i + 1] = T::encode(x + 1);
  }
}

struct Rotations {
  const int32_t* position;  // [token]
  const float* inv_freq;    // [frequencies]
  float *cosine, *sine;     // [token][frequencies]
  int frequencies;
  float scale;              // of what is rotated
};

static __global__ void __launch_bounds__(kDenseThreads) rotations_kernel(Rotations r) {
  const double position = global(r.position)[blockIdx.x];
  for (int i = threadIdx.x; i < r.frequencies; i += blockDim.x) {
    const float frequency = global(r.inv_freq)[i];
    const double angle = position * (double)frequency, scale = frequency != 0 ? r.scale : 1.0f;
    const int64_t at = (int64_t)blockIdx.x * r.frequencies + i;
    global(r.cosine)[at] = (float)(cos(angle) * scale);
    global(r.sine)[at] = (float)(sin(angle) * scale);
  }
}

struct Embed {
  const int32_t *token, *position;             // [token]
  const uint32_t *embedding, *positions;       // [vocab][width], [positions][width] of T; the second may be null
  const float* plain;                          // [token][width]: rows of a quantised embedding, or null
  float* x;
  int width;
  float scale;
};

template <class T>
__global__ void __launch_bounds__(kDenseThreads) embed_kernel(Embed e) {
  const int half = e.width / 2;
  const int64_t from = (int64_t)global(e.token)[blockIdx.x] * half, to = (int64_t)blockIdx.x * e.width;
  const int64_t place = e.positions ? (int64_t)global(e.position)[blockIdx.x] * half : 0;
  for (int i = threadIdx.x; i < half; i += blockDim.x) {
    float x[2], at[2] = {0, 0};
    if (e.plain) {
      x[0] = global(e.plain)[to + 2 * i];
      x[1] = global(e.plain)[to + 2 * i + 1];
    } else {
      load_two<T>(global(e.embedding), from + i, x);
    }
    if (e.positions) load_two<T>(global(e.positions), place + i, at);
    global(e.x)[to + 2 * i] = x[0] * e.scale + at[0];
    global(e.x)[to + 2 * i + 1] = x[1] * e.scale + at[1];
  }
}

struct AddAndNorm {
  float* x;
  const float* h;        // null: there is nothing to add
  const float* bias;     // of the product h, or null
  NormNumbers post;      // of h before it is added
  float residual_scale;
  NormNumbers norm;      // no gain: x is all that is wanted
  float out_scale;
  const int32_t* place;  // which rows of x, in the order of normed; null: all, h is null otherwise
  uint32_t* normed;      // of T
  int width;
};

template <class T>
__global__ void __launch_bounds__(kDenseThreads) add_and_norm_kernel(AddAndNorm a) {
  Arena arena;
  const Shared<float> warps = arena.take<float>(kDenseWarps, "warp sums");
  const int64_t row = a.place ? (int64_t)global(a.place)[blockIdx.x] : (int64_t)blockIdx.x;
  const Global<float> x = global(a.x) + row * a.width;
  if (a.h) {
    const Global<const float> h = global(a.h) + row * a.width;
    const auto product = [&](int i) { return a.bias ? h[i] + global(a.bias)[i] : (float)h[i]; };
    Normed post{a.post, 0, 1};
    if (a.post.gain) post = norm_of(a.post, a.width, warps, product);
    for (int i = 2 * threadIdx.x; i < a.width; i += 2 * blockDim.x)
      for (int e = i; e < i + 2; e++)
        x[e] += (a.post.gain ? post(product(e), e) : product(e)) * a.residual_scale;
  }
  if (!a.norm.gain) return;
  // every thread reads what it wrote itself
  const Normed norm = norm_of(a.norm, a.width, warps, [&](int i) { return (float)x[i]; });
  const int64_t to = (int64_t)blockIdx.x * (a.width / 2);
  for (int i = 2 * threadIdx.x; i < a.width; i += 2 * blockDim.x) {
    const float out[2] = {norm(x[i], i) * a.out_scale, norm(x[i + 1], i + 1) * a.out_scale};
    store_two<T>(global(a.normed), to + i / 2, out);
  }
}

struct FinishHeads {
  const float* qkv;             // [token][heads + 2 kv_heads][dim], products
  const float* bias;            // [heads + 2 kv_heads][dim] or null
  NormNumbers q_norm, k_norm;   // [dim]
  const float *cosine, *sine;   // [token][frequencies]
  int heads, kv_heads, dim, rope_dims, interleaved;
  int frequencies, rope0;       // of all tables; where the layer's table begins
  uint32_t *q, *k, *v;          // of T
};

// Where number p of a finished head comes from. Where only the first dims are rotated, halves against each other, the
// second half of them moves to where it is in heads that are rotated whole (dense_model.cpp of the CPU).
SKV_INLINE int moved_from(const FinishHeads& f, int p) {
  const int half = f.rope_dims / 2, middle = f.dim / 2;
  if (f.interleaved || half == middle || p < half || p >= middle + half) return p;
  return p < middle ? p + half : p - middle + half;
}

template <class T>
__global__ void __launch_bounds__(kHeadThreads) finish_heads_kernel(FinishHeads f) {
  Arena arena;
  const Shared<float> head = arena.take<float>(f.dim, "head");
  const int token = blockIdx.x, h = blockIdx.y, all = f.heads + 2 * f.kv_heads, middle = f.dim / 2;
  const bool is_q = h < f.heads, is_v = h >= f.heads + f.kv_heads;
  const Global<const float> product = global(f.qkv) + ((int64_t)token * all + h) * f.dim;
  // a thread's pairs are its own until they are rotated
  const int pairs0 = 2 * threadIdx.x, pairs = 2 * kHeadThreads;
  for (int i = pairs0; i < f.dim; i += pairs)
    for (int e = i; e < i + 2; e++) head[e] = f.bias ? product[e] + global(f.bias)[h * f.dim + e] : (float)product[e];
  const NormNumbers numbers = is_q ? f.q_norm : f.k_norm;
  if (!is_v && numbers.gain) {
    const Normed norm = norm_of(numbers, f.dim, head, [&](int i) { return (float)head[i]; });
    for (int i = pairs0; i < f.dim; i += pairs)
      for (int e = i; e < i + 2; e++) head[e] = norm(head[e], e);
  }
  __syncwarp();
  const Global<uint32_t> to = global(is_q ? f.q : is_v ? f.v : f.k);
  const int64_t at = ((int64_t)token * (is_q ? f.heads : f.kv_heads) + (is_q ? h : (h - f.heads) % f.kv_heads)) * middle;
  const Global<const float> cosine = global(f.cosine) + (int64_t)token * f.frequencies + f.rope0;
  const Global<const float> sine = global(f.sine) + (int64_t)token * f.frequencies + f.rope0;
  for (int i = threadIdx.x; i < middle; i += kHeadThreads) {
    float out[2] = {head[2 * i], head[2 * i + 1]};
    if (!is_v && f.interleaved) {
      const float a = out[0], b = out[1], c = cosine[i], s = sine[i];
      out[0] = a * c - b * s;
      out[1] = a * s + b * c;
    } else if (!is_v) {
      for (int e = 0; e < 2; e++) {
        const int p = 2 * i + e, at_angle = p % middle;
        const float a = head[moved_from(f, at_angle)], b = head[moved_from(f, at_angle + middle)];
        out[e] = p < middle ? a * cosine[at_angle] - b * sine[at_angle] : a * sine[at_angle] + b * cosine[at_angle];
      }
    }
    store_two<T>(to, at + i, out);
  }
}

struct Activate {
  const float* products;  // [token][gate ffn, up ffn], or [token][up ffn] where the MLP is not gated
  const float* bias;      // as a row of these, or null
  uint32_t* gated;        // [token][ffn] of T
  int ffn, is_gated, activation;
};

SKV_INLINE float activated(int activation, float x) {
  if (activation == SKV_ACT_SILU) return x / (1.0f + expf(-x));
  if (activation == SKV_ACT_GELU) return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
  if (activation == SKV_ACT_RELU) return x > 0 ? x : 0.0f;
  return 0.5f * x * (1.0f + tanhf(0.79788456080286536f * (x + 0.044715f * x * x * x)));
}

template <class T>
__global__ void __launch_bounds__(kDenseThreads) activate_kernel(Activate a) {
  const int row = a.is_gated ? 2 * a.ffn : a.ffn;
  const Global<const float> products = global(a.products) + (int64_t)blockIdx.x * row;
  const int end = min(a.ffn / 2, int(blockIdx.y + 1) * kPieceWords);
  for (int i = blockIdx.y * kPieceWords + threadIdx.x; i < end; i += blockDim.x) {
    float out[2];
    SKV_UNROLL for (int e = 0; e < 2; e++) {
      const int at = 2 * i + e, up = a.ffn + at;
      out[e] = activated(a.activation, products[at] + (a.bias ? (float)global(a.bias)[at] : 0.0f));
      if (a.is_gated) out[e] *= products[up] + (a.bias ? (float)global(a.bias)[up] : 0.0f);
    }
    store_two<T>(global(a.gated), (int64_t)blockIdx.x * (a.ffn / 2) + i, out);
  }
}

// Row source[i] of `from` becomes row i of `to`.
static __global__ void __launch_bounds__(kDenseThreads)
    gather_kernel(const uint32_t* from, uint32_t* to, const int32_t* source, int words) {
  const int64_t row = (int64_t)global(source)[blockIdx.x] * words;
  for (int i = threadIdx.x; i < words; i += blockDim.x)
    global(to)[(int64_t)blockIdx.x * words + i] = global(from)[row + i];
}

// from [token][2 * words] f32 -> to [token][words] of T
template <class T>
__global__ void __launch_bounds__(kDenseThreads) round_kernel(const float* from, uint32_t* to, int words) {
  const int64_t row = (int64_t)blockIdx.x * words;
  for (int i = threadIdx.x; i < words; i += blockDim.x) {
    const float two[2] = {global(from)[2 * (row + i)], global(from)[2 * (row + i) + 1]};
    store_two<T>(global(to), row + i, two);
  }
}

static __global__ void __launch_bounds__(kDenseThreads) cap_kernel(float* logits, int vocab, float cap) {
  const int end = min(vocab, int(blockIdx.x + 1) * kPieceWords);
  const Global<float> row = global(logits) + (int64_t)blockIdx.y * vocab;
  for (int i = blockIdx.x * kPieceWords + threadIdx.x; i < end; i += blockDim.x) row[i] = cap * tanhf(row[i] / cap);
}
