#include "quantised.cuh"

namespace skv {
namespace {

template <class Blocks>
int32_t multiply(const QuantisedProduct& p, void* stream) {
  const dim3 grid(ceil_div(p.rows, kProductWarps * kProductRows));
  return SKV_LAUNCH((quantised_kernel<Blocks>), grid, kProductThreads, 0, stream, p);
}

template <class Blocks>
int32_t dequantise(const Dequantise& d, void* stream) {
  return SKV_LAUNCH((dequantise_kernel<Blocks>), dim3(d.n), kProductThreads, 0, stream, d);
}

#define ROW(name) {SKV_W_##name, multiply<Blocks##name>, dequantise<Blocks##name>}
constexpr QuantisedType kTypes[] = {
    ROW(Q4_0), ROW(Q4_1), ROW(Q5_0), ROW(Q5_1), ROW(Q8_0),   ROW(Q2_K),
    ROW(Q3_K), ROW(Q4_K), ROW(Q5_K), ROW(Q6_K), ROW(IQ4_NL), ROW(IQ4_XS),
};
#undef ROW

}  // namespace

const QuantisedType* find_quantised(int32_t type) {
  for (const QuantisedType& each : kTypes)
    if (each.type == type) return &each;
  return nullptr;
}

}  // namespace skv
