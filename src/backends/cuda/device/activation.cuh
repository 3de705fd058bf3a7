// The activation functions, within about 1e-6 of the exact value, relatively (gelu: of its larger
// side). Kinds are numbered as ActivationKind is.
#pragma once

constexpr int kSilu = 0;
constexpr int kGelu = 1;
constexpr int kGeluTanh = 2;
constexpr int kRelu = 3;

// 1 / (1 + x) for x >= 0, infinity included.
__device__ __forceinline__ float reciprocal_of_one_plus(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(1.0f + x));
  return y;
}

// erfc(z) for z >= 0 as t exp(P(t) - z^2), t = 1 / (1 + z / 2). P interpolates at the Chebyshev
// nodes of t in [0.16, 1], to 6e-8; beyond, z > 10 and erfc(z) is less than any float.
__device__ __forceinline__ float erfc_of_positive(float z) {
  const float t = reciprocal_of_one_plus(0.5f * z);
  float p = 1.514756595e-01f;
  p = fmaf(p, t, -7.160840903e-01f);
  p = fmaf(p, t, 1.238627811e+00f);
  p = fmaf(p, t, -8.035774601e-01f);
  p = fmaf(p, t, 6.876612725e-03f);
  p = fmaf(p, t, -4.404776833e-02f);
  p = fmaf(p, t, 4.963015036e-02f);
  p = fmaf(p, t, 3.835867224e-01f);
  p = fmaf(p, t, 9.989767367e-01f);
  p = fmaf(p, t, -1.265464322e+00f);
  return t * expf(fmaf(-z, z, p));
}

template <int kKind>
__device__ __forceinline__ float activate(float x) {
  static_assert(kKind >= kSilu && kKind <= kRelu);
  if constexpr (kKind == kSilu) {
    return x * reciprocal_of_one_plus(expf(-x));
  } else if constexpr (kKind == kGelu) {
    const float tail = 0.5f * erfc_of_positive(fabsf(x) * 0.70710678119f);
    return x * (x > 0.0f ? 1.0f - tail : tail);
  } else if constexpr (kKind == kGeluTanh) {
    // (1 + tanh(u)) / 2 = 1 / (1 + exp(-2u)); -2 sqrt(2 / pi) is the constant.
    const float inner = fmaf(x * x, 0.044715f, 1.0f) * x;
    return x * reciprocal_of_one_plus(expf(inner * -1.5957691216f));
  } else {
    return fmaxf(x, 0.0f);
  }
}
