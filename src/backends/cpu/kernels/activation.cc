// activation and gated_activation: elementwise. The functions are within about 1e-6 of the exact
// value, relatively (gelu: of its larger side); bound by the exponential, some 20 operations a
// vector.
#include "backends/cpu/kernels/kernels.h"
#include "backends/cpu/kernels/rows.h"

namespace brayton::cpu::BRAYTON_CPU_LEVEL {
namespace {

// erfc(z) for z >= 0 as t exp(P(t) - z^2), t = 1 / (1 + z / 2). P interpolates at the Chebyshev
// nodes of t in [0.16, 1], to 6e-8; beyond, z > 10 and erfc(z) is less than any float.
BRAYTON_INLINE F32 erfc_of_positive(F32 z) {
  const F32 t = 1.0f / fma(z, splat(0.5f), splat(1.0f));
  F32 p = splat(1.514756595e-01f);
  p = fma(p, t, splat(-7.160840903e-01f));
  p = fma(p, t, splat(1.238627811e+00f));
  p = fma(p, t, splat(-8.035774601e-01f));
  p = fma(p, t, splat(6.876612725e-03f));
  p = fma(p, t, splat(-4.404776833e-02f));
  p = fma(p, t, splat(4.963015036e-02f));
  p = fma(p, t, splat(3.835867224e-01f));
  p = fma(p, t, splat(9.989767367e-01f));
  p = fma(p, t, splat(-1.265464322e+00f));
  return t * exp(fma(-z, z, p));
}

template <ActivationKind kind>
BRAYTON_INLINE F32 activate(F32 x) {
  if constexpr (kind == ActivationKind::kRelu) {
    return max(x, F32{});
  } else if constexpr (kind == ActivationKind::kSilu) {
    return x / (exp(-x) + 1.0f);
  } else if constexpr (kind == ActivationKind::kGeluTanh) {
    // (1 + tanh(u)) / 2 = 1 / (1 + exp(-2u))
    const F32 inner = fma(x * x, splat(0.044715f), splat(1.0f)) * x;
    return x / (exp(inner * -1.5957691216f) + 1.0f);  // -2 sqrt(2 / pi)
  } else {
    const F32 z = abs(x) * 0.70710678119f;
    const F32 tail = erfc_of_positive(z) * 0.5f;
    return x * select(x > 0.0f, 1.0f - tail, tail);
  }
}

// y = f(x), times `up` where there is one.
template <ActivationKind kind>
void activate_row(const float* x, const float* up, float* y, int64_t width) {
  int64_t i = 0;
  if (up == nullptr)
    for (; i + kLanes <= width; i += kLanes) store(y + i, activate<kind>(load(x + i)));
  else
    for (; i + kLanes <= width; i += kLanes)
      store(y + i, activate<kind>(load(x + i)) * load(up + i));
  if (i == width) return;
  F32 v = activate<kind>(load_first(x + i, width - i));
  if (up != nullptr) v *= load_first(up + i, width - i);
  store_first(y + i, v, width - i);
}

using ActivateRow = void (*)(const float* x, const float* up, float* y, int64_t width);

ActivateRow row_function(ActivationKind kind) {
  switch (kind) {
    case ActivationKind::kSilu:
      return activate_row<ActivationKind::kSilu>;
    case ActivationKind::kGelu:
      return activate_row<ActivationKind::kGelu>;
    case ActivationKind::kGeluTanh:
      return activate_row<ActivationKind::kGeluTanh>;
    case ActivationKind::kRelu:
      break;
  }
  return activate_row<ActivationKind::kRelu>;
}

constexpr int64_t kElementCost = 20;

}  // namespace

void activation(Stream& stream, const ActivationArgs& args) {
  check(args);
  const int64_t width = args.y.dim(1);
  const ActivateRow row = row_function(args.kind);
  for_rows(stream, args.y.dim(0), kElementCost * width, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      row(args.x.as<float>() + t * args.x.strides[0], nullptr,
          args.y.as<float>() + t * args.y.strides[0], width);
  });
}

void gated_activation(Stream& stream, const GatedActivationArgs& args) {
  check(args);
  const int64_t width = args.y.dim(1);
  const ActivateRow row = row_function(args.kind);
  for_rows(stream, args.y.dim(0), kElementCost * width, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float* x = args.x.as<float>() + t * args.x.strides[0];
      row(x, x + width, args.y.as<float>() + t * args.y.strides[0], width);
    }
  });
}

}  // namespace brayton::cpu::BRAYTON_CPU_LEVEL
