// rope: a token's cosines and sines are computed once, then turn all of its heads. The angle is
// rounded to float32 as the models' authors do; its reduction is in float64, so sines and cosines
// are within about 1e-7 for angles up to 2^20. Bound by the sines when there are few heads, by the
// cache when there are many.
#include "backends/cpu/kernels/kernels.h"
#include "backends/cpu/kernels/rows.h"

namespace brayton::cpu::BRAYTON_CPU_LEVEL {
namespace {

constexpr int64_t kBlock = 256;  // pairs turned at a time, so that the tables lie on the stack

// The turn of pairs [0, count), times scale. Written for the compiler to vectorise.
void turns(const float* __restrict inv_freq, float position, int64_t count, float scale,
           float* __restrict cosines, float* __restrict sines) {
  for (int64_t p = 0; p < count; ++p) {
    const float rounded = position * inv_freq[p];
    const double angle = rounded;
    const double quarters = angle * 0.63661977236758134;  // 2 / pi
    const auto n = static_cast<int32_t>(quarters + (quarters < 0.0 ? -0.5 : 0.5));
    // pi / 2 in two parts; n times the first is exact.
    const double remainder = (angle - n * 1.5707963267341256) - n * 6.077100506506192e-11;
    const auto r = static_cast<float>(remainder);
    const float r2 = r * r;
    // Minimax polynomials on [-pi/4, pi/4] (Cephes sinf and cosf).
    const float s =
        ((-1.9515295891e-4f * r2 + 8.3321608736e-3f) * r2 - 1.6666654611e-1f) * r2 * r + r;
    const float c =
        ((2.443315711809948e-5f * r2 - 1.388731625493765e-3f) * r2 + 4.166664568298827e-2f) * r2 *
            r2 -
        0.5f * r2 + 1.0f;
    const float sine = (n & 1) != 0 ? c : s;
    const float cosine = (n & 1) != 0 ? s : c;
    sines[p] = (n & 2) != 0 ? -sine * scale : sine * scale;
    cosines[p] = ((n + 1) & 2) != 0 ? -cosine * scale : cosine * scale;
  }
}

// (a, b) -> (a cos - b sin, a sin + b cos) for pairs of two runs of `count` elements.
BRAYTON_INLINE void turn_runs(const float* a, const float* b, float* out_a, float* out_b,
                              const float* cosines, const float* sines, int64_t count) {
  int64_t p = 0;
  for (; p + kLanes <= count; p += kLanes) {
    const F32 va = load(a + p), vb = load(b + p), c = load(cosines + p), s = load(sines + p);
    store(out_a + p, fma(va, c, -(vb * s)));
    store(out_b + p, fma(va, s, vb * c));
  }
  if (p == count) return;
  const int64_t n = count - p;
  const F32 va = load_first(a + p, n), vb = load_first(b + p, n);
  const F32 c = load_first(cosines + p, n), s = load_first(sines + p, n);
  store_first(out_a + p, fma(va, c, -(vb * s)), n);
  store_first(out_b + p, fma(va, s, vb * c), n);
}

// The lanes of every pair exchanged.
BRAYTON_INLINE F32 swap_pairs(F32 v) {
  typedef uint64_t U64 __attribute__((vector_size(kVectorBytes)));
  const U64 pairs = (U64)v;
  return (F32)((pairs >> 32) | (pairs << 32));
}

// The same for adjacent pairs; the tables hold every cosine twice, every sine as (-sin, sin).
BRAYTON_INLINE void turn_adjacent(const float* x, float* y, const float* cosines,
                                  const float* sines, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const F32 v = load(x + i);
    store(y + i, fma(v, load(cosines + i), swap_pairs(v) * load(sines + i)));
  }
  if (i == count) return;
  const int64_t n = count - i;
  const F32 v = load_first(x + i, n);
  store_first(y + i, fma(v, load_first(cosines + i, n), swap_pairs(v) * load_first(sines + i, n)),
              n);
}

// Pairs [first, first + count) of all heads of token t.
void turn_token(const RopeArgs& args, int64_t t, int64_t first, int64_t count) {
  alignas(64) float cosines[2 * kBlock];
  alignas(64) float sines[2 * kBlock];
  turns(args.inv_freq.as<float>() + first, static_cast<float>(args.positions.as<int32_t>()[t]),
        count, args.scale, cosines, sines);
  if (args.interleaved)
    for (int64_t p = count - 1; p >= 0; --p) {
      const float s = sines[p];
      cosines[2 * p] = cosines[2 * p + 1] = cosines[p];
      sines[2 * p] = -s;
      sines[2 * p + 1] = s;
    }
  const int64_t pairs = args.inv_freq.dim(0);
  for (int64_t h = 0; h < args.x.dim(1); ++h) {
    const float* x = args.x.as<float>() + t * args.x.strides[0] + h * args.x.strides[1];
    float* y = args.y.as<float>() + t * args.y.strides[0] + h * args.y.strides[1];
    if (args.interleaved)
      turn_adjacent(x + 2 * first, y + 2 * first, cosines, sines, 2 * count);
    else
      turn_runs(x + first, x + pairs + first, y + first, y + pairs + first, cosines, sines, count);
  }
}

void pass_through(const RopeArgs& args, int64_t t) {
  const int64_t first = 2 * args.inv_freq.dim(0);
  for (int64_t h = 0; h < args.x.dim(1); ++h) {
    const float* x = args.x.as<float>() + t * args.x.strides[0] + h * args.x.strides[1];
    float* y = args.y.as<float>() + t * args.y.strides[0] + h * args.y.strides[1];
    if (x != y)
      for (int64_t i = first; i < args.x.dim(2); ++i) y[i] = x[i];
  }
}

}  // namespace

void rope(Stream& stream, const RopeArgs& args) {
  check(args);
  const int64_t pairs = args.inv_freq.dim(0);
  const int64_t cost = 3 * args.x.dim(1) * args.x.dim(2) + 20 * pairs;
  for_rows(stream, args.x.dim(0), cost, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t first = 0; first < pairs; first += kBlock)
        turn_token(args, t, first, pairs - first < kBlock ? pairs - first : kBlock);
      pass_through(args, t);
    }
  });
}

}  // namespace brayton::cpu::BRAYTON_CPU_LEVEL
