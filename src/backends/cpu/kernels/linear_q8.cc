// linear with 8-bit activations and packed block formats.
//
// A tile is one group of kLanes rows times T tokens. For each block of 32 k the group's weights are
// unpacked once into 8 vectors of bytes, and each token's 32 activations, broadcast by fours, are
// multiplied with them in integers, lane = row; one conversion and one or two fused multiply-adds
// bring in the scales. Sums run over the blocks in order, whatever T is: a row of y does not depend
// on how many other tokens are in the step.
// Bound: memory for few tokens, the integer dot product units for many.
#include "backends/cpu/kernels/dot_u8s8.h"
#include "backends/cpu/kernels/linear.h"
#include "backends/cpu/kernels/quantize_rows.h"
#include "backends/cpu/kernels/simd.h"

namespace brayton::cpu::BRAYTON_CPU_LEVEL {
namespace {

constexpr int kMaxTile = kVectorBytes == 64 ? 8 : 4;
constexpr int64_t kTokenChunk = 128;
constexpr int kQuads = kBlock / 4;

template <int kBits>
BRAYTON_INLINE void unpack_quads(const uint8_t* p, U8* quads) {
  if constexpr (kBits == 8) {
    for (int q = 0; q < kQuads; ++q) quads[q] = load_bytes(p + q * kVectorBytes);
    return;
  }
  const U8 nibble = U8{} + 0x0f;
  for (int q = 0; q < kQuads / 2; ++q) {
    const U8 both = load_bytes(p + q * kVectorBytes);
    quads[q] = both & nibble;
    quads[q + kQuads / 2] = (U8)((U32)both >> 4) & nibble;
  }
  if constexpr (kBits == 6) {
    const U8 mask = U8{} + 0x30;
    for (int half = 0; half < 2; ++half) {
      const U32 bits = (U32)load_bytes(p + (kQuads / 2 + half) * kVectorBytes);
      U8* to = quads + half * (kQuads / 2);
      to[0] |= (U8)(bits << 4) & mask;
      to[1] |= (U8)(bits << 2) & mask;
      to[2] |= (U8)bits & mask;
      to[3] |= (U8)(bits >> 2) & mask;
    }
  }
}

template <class T>
BRAYTON_INLINE T load_scalar(const uint8_t* p) {
  T value;
  __builtin_memcpy(&value, p, sizeof(value));
  return value;
}

template <class Byte>  // int8_t or uint8_t: kLanes scales of a sub-block
BRAYTON_INLINE F32 load_scale_bytes(const uint8_t* p) {
  typedef Byte Bytes __attribute__((vector_size(kLanes)));
  Bytes bytes;
  __builtin_memcpy(&bytes, p, sizeof(bytes));
  return to_float(__builtin_convertvector(bytes, I32));
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
  for (int sub = 0; sub < kLayout.subs; ++sub) {
    if constexpr (kLayout.scales == ScaleKind::kSuper) {
      scales.d[sub] = load_scale_bytes<int8_t>(p + sub * kLanes) * super_d;
    } else if constexpr (kLayout.scales == ScaleKind::kSuperMin) {
      scales.d[sub] = load_scale_bytes<uint8_t>(p + sub * kLanes) * super_d;
      scales.m[sub] = load_scale_bytes<uint8_t>(p + (kLayout.subs + sub) * kLanes) * super_m;
    } else {
      scales.d[0] = load_scale_f16(p);
      if constexpr (kLayout.has_min()) scales.m[0] = load_scale_f16(p + 2 * kLanes);
    }
  }
  return scales;
}

template <LinearForm kForm, int T>
BRAYTON_INLINE void add_block(const uint8_t* w, const uint8_t* x, F32 super_d, F32 super_m,
                              F32* sums) {
  constexpr LinearLayout kLayout = linear_layout(kForm);
  constexpr int kSubs = kLayout.subs;
  U8 quads[kQuads];
  unpack_quads<kLayout.bits>(w, quads);
  const Scales scales =
      block_scales<kForm>(w + kLayout.quant_bytes(kLanes), super_d, super_m);
  for (int t = 0; t < T; ++t) {
    const int8_t* q = reinterpret_cast<const int8_t*>(x) + t * kBlock;
    const F32 d = splat(load_scalar<float>(x + T * kBlock + t * 4));
    const uint8_t* aux = x + T * (kBlock + 4) + t * kSubs * 4;
    F32 product{};
    for (int sub = 0; sub < kSubs; ++sub) {
      I32 start{};
      if constexpr (!kLayout.has_min()) start = splat_i32(load_scalar<int32_t>(aux + sub * 4));
      const F32 dot = to_float(dot_quads<kLayout.largest, kQuads / kSubs>(
          quads + sub * (kQuads / kSubs), q + sub * (kBlock / kSubs), start));
      product = sub == 0 ? dot * scales.d[0] : fma(dot, scales.d[sub], product);
    }
    sums[t] = fma(product, d, sums[t]);
    if constexpr (kLayout.has_min())
      for (int sub = 0; sub < kSubs; ++sub)
        sums[t] = fma(scales.m[sub], splat(load_scalar<float>(aux + sub * 4)), sums[t]);
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
    for (; t + 4 <= piece.token_end; t += 4)
      tile<kForm, 4>(work, w, x + t * token_bytes, group, t);
    for (; t + 2 <= piece.token_end; t += 2)
      tile<kForm, 2>(work, w, x + t * token_bytes, group, t);
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
  constexpr int64_t kQuantizeChunk = 16;
  static_assert(kQuantizeChunk % kMaxTile == 0 && kTokenChunk % kMaxTile == 0);
  stream.pool().run((work.tokens + kQuantizeChunk - 1) / kQuantizeChunk, [&](int64_t i, int) {
    const int64_t end = (i + 1) * kQuantizeChunk;
    quantize_tokens(layout, work, i * kQuantizeChunk, end < work.tokens ? end : work.tokens, x);
  });
  const LinearPieces pieces =
      cut_linear(work, layout.group_bytes(work.k, kLanes), stream.threads(), kTokenChunk);
  const Run run = run_of(form);
  stream.pool().run(pieces.count(), [&](int64_t piece, int) {
    run(work, x, linear_piece(work, pieces, piece));
  });
}

}  // namespace brayton::cpu::BRAYTON_CPU_LEVEL
