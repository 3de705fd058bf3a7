// linear with activations as two planes of 8 bits and packed block formats. One plane would do for
// speed alone, but its rounding moves the logits of small models by tenths (SmolLM2-135M: 0.4, two
// planes 0.01); few tokens wait for memory anyway.
//
// A tile is one group of kLanes rows times T tokens. For each block of 32 k the group's weights are
// unpacked once into 8 vectors of bytes, and each token's 2 x 32 activations, broadcast by fours,
// are multiplied with them in integers, lane = row; then one conversion and one or two fused
// multiply-adds bring in the scales. Sums run over the blocks in order, whatever T is: a row of y
// does not depend on how many other tokens are in the step. Bound: memory for few tokens, the
// integer dot product units for many. Read on an EPYC of Zen 4, 2 cores, avx512, all layers of
// SmolLM2-135M Q4_1 (benchmarks/bench_kernels.cc): one token 75 to 100 % of the read bandwidth (36
// to 57 GB/s on a shared machine), 512 tokens 56 % of 470 GMAC/s; the scales' multiply-adds go to
// the same units and leave at most 73 %.
#include "backends/cpu/kernels/dot_u8s8.h"
#include "backends/cpu/kernels/linear.h"
#include "backends/cpu/kernels/quantize_rows.h"
#include "backends/cpu/kernels/simd.h"

namespace brayton::cpu::BRAYTON_CPU_LEVEL {
namespace {

constexpr int kMaxTile = kVectorBytes == 64 ? 8 : 4;
constexpr int64_t kTokenChunk = 128;
constexpr int kQuads = kBlock / 4;

// The bytes of quad q of a block.
template <int kBits>
BRAYTON_INLINE U8 unpack_quad(const uint8_t* p, int q) {
  if constexpr (kBits == 8) return load_bytes(p + q * kVectorBytes);
  constexpr int kHalf = kQuads / 2;
  const U32 both = (U32)load_bytes(p + q % kHalf * kVectorBytes);
  const U32 low = (q < kHalf ? both : both >> 4) & 0x0f0f0f0fu;
  if constexpr (kBits == 4) return (U8)low;
  const U32 bits = (U32)load_bytes(p + (kHalf + q / kHalf) * kVectorBytes);
  const int field = q % kHalf;  // two bits, to be bits 4 and 5
  const U32 high = field < 2 ? bits << (4 - 2 * field) : bits >> (2 * field - 4);
  return (U8)(low | (high & 0x30303030u));
}

template <class T>
BRAYTON_INLINE T load_scalar(const uint8_t* p) {
  T value;
  __builtin_memcpy(&value, p, sizeof(value));
  return value;
}

BRAYTON_INLINE F32 load_scale_f16(const uint8_t* p) {
  return load_f16(reinterpret_cast<const uint16_t*>(p));
}

// What a block's integers are multiplied with: scale[sub], and the minimum, to be added.
struct Scales {
  F32 d[2];
  F32 m[2];
};

template <LinearForm kForm>
BRAYTON_INLINE Scales block_scales(const uint8_t* p, F32 super_d, F32 super_m) {
  constexpr LinearLayout kLayout = linear_layout(kForm);
  Scales scales;
  BRAYTON_UNROLL
  for (int sub = 0; sub < kLayout.subs; ++sub) {
    if constexpr (kLayout.scales == ScaleKind::kSuper) {
      scales.d[sub] = to_float(load_i8(p + sub * kLanes)) * super_d;
    } else if constexpr (kLayout.scales == ScaleKind::kSuperMin) {
      scales.d[sub] = to_float(load_u8(p + sub * kLanes)) * super_d;
      scales.m[sub] = to_float(load_u8(p + (kLayout.subs + sub) * kLanes)) * super_m;
    } else {
      scales.d[0] = load_scale_f16(p);
      if constexpr (kLayout.has_min()) scales.m[0] = load_scale_f16(p + 2 * kLanes);
    }
  }
  return scales;
}

// Adds one block. x: the block's part of the quantised tile.
template <LinearForm kForm, int T>
BRAYTON_INLINE void add_block(const uint8_t* w, const uint8_t* x, F32 super_d, F32 super_m,
                              F32* sums) {
  constexpr LinearLayout kLayout = linear_layout(kForm);
  constexpr int kSubs = kLayout.subs, kSubQuads = kQuads / kSubs;
  constexpr int kRun = kRunQuads<kLayout.largest>;
  // A run of weights in registers meets every token before the next one: T independent chains.
  const auto* high = reinterpret_cast<const int8_t*>(x);
  const int8_t* low = high + T * kBlock;
  const uint8_t* ds = x + kPlanes * T * kBlock;
  const uint8_t* aux = ds + T * 4;
  const Scales scales = block_scales<kForm>(w + kLayout.quant_bytes(kLanes), super_d, super_m);
  F32 products[T];
  BRAYTON_UNROLL
  for (int sub = 0; sub < kSubs; ++sub) {
    I32 dots[T], high_dots[T];
    BRAYTON_UNROLL
    for (int t = 0; t < T; ++t) {
      constexpr bool kZero = !kLayout.has_min() && !(kLayout.largest == 255 && kTakesZeroOff);
      high_dots[t] = I32{};
      dots[t] = kZero ? splat_i32(load_scalar<int32_t>(aux + (t * kSubs + sub) * 4)) : I32{};
    }
    BRAYTON_UNROLL
    for (int q = sub * kSubQuads; q < (sub + 1) * kSubQuads; q += kRun) {
      U8 quads[kRun];
      BRAYTON_UNROLL
      for (int i = 0; i < kRun; ++i) quads[i] = unpack_quad<kLayout.bits>(w, q + i);
      BRAYTON_UNROLL
      for (int t = 0; t < T; ++t) {
        const int at = t * kBlock + q * 4;
        high_dots[t] = dot_run<kLayout.largest>(high_dots[t], quads, high + at);
        dots[t] = dot_run<kLayout.largest>(dots[t], quads, low + at);
      }
    }
    BRAYTON_UNROLL
    for (int t = 0; t < T; ++t) {
      const F32 dot = to_float((high_dots[t] << kPlaneBits) + dots[t]);
      products[t] = sub == 0 ? dot * scales.d[0] : fma(dot, scales.d[sub], products[t]);
    }
  }
  BRAYTON_UNROLL
  for (int t = 0; t < T; ++t) {
    sums[t] = fma(products[t], splat(load_scalar<float>(ds + t * 4)), sums[t]);
    if constexpr (kLayout.has_min()) BRAYTON_UNROLL
    for (int sub = 0; sub < kSubs; ++sub)
      sums[t] = fma(scales.m[sub], splat(load_scalar<float>(aux + (t * kSubs + sub) * 4)), sums[t]);
  }
}

// y of T tokens and the rows of one group. x: the tile's quantised activations.
template <LinearForm kForm, int T>
void tile(const LinearWork& work, const uint8_t* w, const uint8_t* x, int64_t group,
          int64_t token) {
  constexpr LinearLayout kLayout = linear_layout(kForm);
  constexpr int64_t kXStep = quantized_block_bytes(kLayout) * T;
  constexpr int64_t kWStep = kLayout.block_bytes(kLanes);
  const int64_t blocks = work.k / kBlock;
  F32 sums[T];
  BRAYTON_UNROLL
  for (int t = 0; t < T; ++t) sums[t] = F32{};
  if constexpr (kLayout.has_super()) {
    for (int64_t super = 0; super < blocks / kSuperBlocks; ++super) {
      const F32 super_d = load_scale_f16(w);
      const F32 super_m = kLayout.has_min() ? -load_scale_f16(w + 2 * kLanes) : F32{};
      w += kLayout.super_bytes(kLanes);
      for (int b = 0; b < kSuperBlocks; ++b, w += kWStep, x += kXStep)
        add_block<kForm, T>(w, x, super_d, super_m, sums);
    }
  } else {
    for (int64_t b = 0; b < blocks; ++b, w += kWStep, x += kXStep)
      add_block<kForm, T>(w, x, F32{}, F32{}, sums);
  }
  const int64_t first = group * kLanes;
  const int64_t rows = work.n - first < kLanes ? work.n - first : kLanes;
  const F32 bias = work.bias ? load_first(work.bias + first, rows) : F32{};
  float* y = work.y + token * work.y_stride + first;
  for (int t = 0; t < T; ++t, y += work.y_stride) {
    const F32 sum = work.bias ? sums[t] + bias : sums[t];
    if (rows == kLanes) {
      store(y, sum);
    } else {
      store_first(y, sum, rows);
    }
  }
}

// Tokens in one tile when `left` are to be done.
BRAYTON_INLINE int tile_tokens(int64_t left) {
  int tokens = kMaxTile;
  while (tokens > left) tokens /= 2;
  return tokens;
}

template <LinearForm kForm>
void run_piece(const LinearWork& work, const uint8_t* x, const LinearPiece& piece) {
  constexpr LinearLayout kLayout = linear_layout(kForm);
  const int64_t token_bytes = quantized_block_bytes(kLayout) * (work.k / kBlock);
  const int64_t group_bytes = kLayout.group_bytes(work.k, kLanes);
  for (int64_t group = piece.group; group < piece.group_end; ++group) {
    const uint8_t* w = work.w + group * group_bytes;
    int64_t t = piece.token;
    if constexpr (kMaxTile == 8)
      for (; t + 8 <= piece.token_end; t += 8)
        tile<kForm, 8>(work, w, x + t * token_bytes, group, t);
    for (; t + 4 <= piece.token_end; t += 4) tile<kForm, 4>(work, w, x + t * token_bytes, group, t);
    for (; t + 2 <= piece.token_end; t += 2) tile<kForm, 2>(work, w, x + t * token_bytes, group, t);
    if (t < piece.token_end) tile<kForm, 1>(work, w, x + t * token_bytes, group, t);
  }
}

using Run = void (*)(const LinearWork&, const uint8_t*, const LinearPiece&);

Run run_of(LinearForm form) {
  switch (form) {
    case LinearForm::kQ4_0:
      return run_piece<LinearForm::kQ4_0>;
    case LinearForm::kQ4_1:
      return run_piece<LinearForm::kQ4_1>;
    case LinearForm::kQ5_0:
      return run_piece<LinearForm::kQ5_0>;
    case LinearForm::kQ5_1:
      return run_piece<LinearForm::kQ5_1>;
    case LinearForm::kQ8_0:
      return run_piece<LinearForm::kQ8_0>;
    case LinearForm::kQ2_K:
      return run_piece<LinearForm::kQ2_K>;
    case LinearForm::kQ3_K:
      return run_piece<LinearForm::kQ3_K>;
    case LinearForm::kQ4_K:
      return run_piece<LinearForm::kQ4_K>;
    case LinearForm::kQ5_K:
      return run_piece<LinearForm::kQ5_K>;
    default:
      return run_piece<LinearForm::kQ6_K>;
  }
}

void quantize_tokens(const LinearLayout& layout, const LinearWork& work, int64_t token,
                     int64_t token_end, uint8_t* to) {
  const int64_t token_bytes = quantized_block_bytes(layout) * (work.k / kBlock);
  while (token < token_end) {
    const int tokens = tile_tokens(token_end - token);
    quantize_tile(layout, work, token, tokens, to + token * token_bytes);
    token += tokens;
  }
}

}  // namespace

void linear_q8(CpuStream& stream, LinearForm form, const LinearWork& work) {
  const LinearLayout layout = linear_layout(form);
  const int64_t token_bytes = quantized_block_bytes(layout) * (work.k / kBlock);
  auto* x = static_cast<uint8_t*>(stream.shared_scratch(work.tokens * token_bytes));
  // Whole tiles, so that every piece and kernel sees the same ones.
  constexpr int64_t kQuantizeChunk = kMaxTile;
  static_assert(kQuantizeChunk % kMaxTile == 0 && kTokenChunk % kMaxTile == 0);
  stream.pool().run((work.tokens + kQuantizeChunk - 1) / kQuantizeChunk, [&](int64_t i, int) {
    const int64_t end = (i + 1) * kQuantizeChunk;
    quantize_tokens(layout, work, i * kQuantizeChunk, end < work.tokens ? end : work.tokens, x);
  });
  const LinearPieces pieces =
      cut_linear(work, layout.group_bytes(work.k, kLanes), stream.threads(), kTokenChunk);
  const Run run = run_of(form);
  stream.pool().run(pieces.count(),
                    [&](int64_t piece, int) { run(work, x, linear_piece(work, pieces, piece)); });
}

}  // namespace brayton::cpu::BRAYTON_CPU_LEVEL
