// linear with float32 activations and f32, f16 or bf16 weights, widened in registers.
//
// A tile is G groups of kLanes rows times T tokens: G * T sums in registers, one lane a row. Every
// sum runs over k in order, so a row of y does not depend on the tile it was computed in. K is cut
// into runs whose weights stay in the level-2 cache; the sums rest in y between runs.
// Bound: memory for few tokens (50 to 65 % of it read), the fused multiply-add units for many: 92
// to 95 % of 117 GMAC/s on an EPYC of Zen 4, 2 cores, avx512.
#include "backends/cpu/kernels/linear.h"
#include "backends/cpu/kernels/simd.h"

namespace brayton::cpu::BRAYTON_CPU_LEVEL {
namespace {

constexpr int kMaxTokens = 8;
constexpr int64_t kRun = 2048;  // of k

// Groups that go with T tokens, so that the sums fit the registers: 32 of 64 bytes, else 16.
constexpr int tile_groups(int tokens) {
  const int sums = kVectorBytes == 64 ? 16 : 8;
  return sums / tokens < 4 ? sums / tokens : 4;
}

template <LinearForm kForm>
BRAYTON_INLINE F32 load_weights(const uint8_t* p) {
  if constexpr (kForm == LinearForm::kF32) return load(reinterpret_cast<const float*>(p));
  if constexpr (kForm == LinearForm::kF16) return load_f16(reinterpret_cast<const uint16_t*>(p));
  if constexpr (kForm == LinearForm::kBF16) return load_bf16(reinterpret_cast<const uint16_t*>(p));
}

// Adds k in [begin, end) to T tokens of G groups; w points to the first group.
template <LinearForm kForm, int G, int T>
void tile(const LinearWork& work, const uint8_t* w, int64_t group_bytes, int64_t group,
          int64_t token, int64_t begin, int64_t end) {
  constexpr int kBytes = linear_layout(kForm).bits / 8 * kLanes;
  const float* x = work.x + token * work.x_stride;
  float* y = work.y + token * work.y_stride + group * kLanes;
  F32 sums[G][T];
  BRAYTON_UNROLL
  for (int g = 0; g < G; ++g) BRAYTON_UNROLL
  for (int t = 0; t < T; ++t) {
    const int64_t rows = work.n - (group + g) * kLanes;
    const float* from = y + t * work.y_stride + g * kLanes;
    sums[g][t] = begin == 0 ? F32{} : rows >= kLanes ? load(from) : load_first(from, rows);
  }
  const uint8_t* p = w + begin * kBytes;
  for (int64_t k = begin; k < end; ++k, p += kBytes) {
    F32 weights[G];
    BRAYTON_UNROLL
    for (int g = 0; g < G; ++g) weights[g] = load_weights<kForm>(p + g * group_bytes);
    BRAYTON_UNROLL
    for (int t = 0; t < T; ++t) {
      const F32 value = splat(x[t * work.x_stride + k]);
      BRAYTON_UNROLL
      for (int g = 0; g < G; ++g) sums[g][t] = fma(weights[g], value, sums[g][t]);
    }
  }
  const bool last = end == work.k && work.bias;
  for (int g = 0; g < G; ++g) {
    const int64_t first = (group + g) * kLanes;
    const int64_t rows = work.n - first < kLanes ? work.n - first : kLanes;
    const F32 bias = last ? load_first(work.bias + first, rows) : F32{};
    for (int t = 0; t < T; ++t) {
      const F32 sum = last ? sums[g][t] + bias : sums[g][t];
      float* to = y + t * work.y_stride + g * kLanes;
      if (rows == kLanes) {
        store(to, sum);
      } else {
        store_first(to, sum, rows);
      }
    }
  }
}

// T tokens of a chunk of groups, one run of k.
template <LinearForm kForm, int T>
void token_tile(const LinearWork& work, int64_t first, int64_t last, int64_t token, int64_t begin,
                int64_t end) {
  constexpr int G = tile_groups(T);
  const int64_t bytes = linear_layout(kForm).group_bytes(work.k, kLanes);
  int64_t group = first;
  for (; group + G <= last; group += G)
    tile<kForm, G, T>(work, work.w + group * bytes, bytes, group, token, begin, end);
  for (; group < last; ++group)
    tile<kForm, 1, T>(work, work.w + group * bytes, bytes, group, token, begin, end);
}

template <LinearForm kForm>
void run_piece(const LinearWork& work, int64_t first, int64_t last, int64_t token,
               int64_t token_end) {
  for (int64_t begin = 0; begin < work.k; begin += kRun) {
    const int64_t end = begin + kRun < work.k ? begin + kRun : work.k;
    int64_t t = token;
    for (; t + 8 <= token_end; t += 8) token_tile<kForm, 8>(work, first, last, t, begin, end);
    if (t + 4 <= token_end) token_tile<kForm, 4>(work, first, last, t, begin, end), t += 4;
    if (t + 2 <= token_end) token_tile<kForm, 2>(work, first, last, t, begin, end), t += 2;
    if (t < token_end) token_tile<kForm, 1>(work, first, last, t, begin, end);
  }
}

using Run = void (*)(const LinearWork&, int64_t, int64_t, int64_t, int64_t);

Run run_of(LinearForm form) {
  if (form == LinearForm::kF16) return run_piece<LinearForm::kF16>;
  if (form == LinearForm::kBF16) return run_piece<LinearForm::kBF16>;
  return run_piece<LinearForm::kF32>;
}

}  // namespace

void linear_f32(CpuStream& stream, LinearForm form, const LinearWork& work) {
  const Run run = run_of(form);
  const LinearPieces pieces = cut_linear(work, linear_layout(form).group_bytes(work.k, kLanes),
                                         stream.threads(), /*token_chunk=*/8 * kMaxTokens);
  stream.pool().run(pieces.count(), [&](int64_t piece, int) {
    const LinearPiece part = linear_piece(work, pieces, piece);
    run(work, part.group, part.group_end, part.token, part.token_end);
  });
}

}  // namespace brayton::cpu::BRAYTON_CPU_LEVEL
