// How packed linear weights lie in memory; shared by packing and the kernels.
//
// Rows come in groups of `lanes` (the 32-bit lanes of a vector), padded with zeros. Plain forms:
// for each k, the group's `lanes` weights. Block forms: the group's blocks of 32 k in a row, each
//   quants  lane-interleaved in fours: byte 4 * lane + i of quad q is element 4q + i of row `lane`.
//           8 bits: quads 0..7.   4 bits: quad q in the low nibbles, q + 4 in the high ones, q < 4.
//           6 bits: low nibbles as 4 bits do, then two vectors v: bits 2f, 2f + 1 of quad 4v + f.
//   scales  kF16: d[lanes]; kF16Min: d[lanes], m[lanes], float16
//           kSuper: scale[subs][lanes] int8; kSuperMin: scale[subs][lanes], min[subs][lanes] uint8
// and before each 8 blocks of a kSuper form d[lanes] (kSuperMin: and dmin[lanes]) as float16.
#pragma once

#include <cstdint>

#include "backends/cpu/packed_linear.h"

namespace brayton::cpu {

enum class ScaleKind { kNone, kF16, kF16Min, kSuper, kSuperMin };

inline constexpr int kBlock = 32;       // k of a block
inline constexpr int kSuperBlocks = 8;  // blocks of a super-block

struct LinearLayout {
  int bits;  // of a stored weight
  ScaleKind scales;
  int subs;     // scales of a block: 1, or 2 for sub-blocks of 16
  int zero;     // the stored value that means 0; with minima it is 0
  int largest;  // stored value

  constexpr bool plain() const { return scales == ScaleKind::kNone; }
  constexpr bool has_min() const {
    return scales == ScaleKind::kF16Min || scales == ScaleKind::kSuperMin;
  }
  constexpr bool has_super() const {
    return scales == ScaleKind::kSuper || scales == ScaleKind::kSuperMin;
  }
  constexpr int quant_bytes(int lanes) const { return bits * 4 * lanes; }
  constexpr int block_bytes(int lanes) const {
    const int scale_bytes = (has_super() ? subs : 2) * lanes * (has_min() ? 2 : 1);
    return quant_bytes(lanes) + scale_bytes;
  }
  constexpr int super_bytes(int lanes) const {  // before each kSuperBlocks blocks
    return has_super() ? 2 * lanes * (has_min() ? 2 : 1) : 0;
  }
  // Of one group of rows.
  constexpr int64_t group_bytes(int64_t k, int lanes) const {
    if (plain()) return k * lanes * (bits / 8);
    const int64_t blocks = k / kBlock;
    return blocks * block_bytes(lanes) + blocks / kSuperBlocks * super_bytes(lanes);
  }
};

constexpr LinearLayout linear_layout(LinearForm form) {
  switch (form) {
    case LinearForm::kF32:
      return {32, ScaleKind::kNone, 0, 0, 0};
    case LinearForm::kF16:
    case LinearForm::kBF16:
      return {16, ScaleKind::kNone, 0, 0, 0};
    case LinearForm::kQ4_0:
      return {4, ScaleKind::kF16, 1, 8, 15};
    case LinearForm::kQ4_1:
      return {4, ScaleKind::kF16Min, 1, 0, 15};
    case LinearForm::kQ5_0:
      return {8, ScaleKind::kF16, 1, 16, 31};
    case LinearForm::kQ5_1:
      return {8, ScaleKind::kF16Min, 1, 0, 31};
    case LinearForm::kQ8_0:
      return {8, ScaleKind::kF16, 1, 128, 255};
    case LinearForm::kQ2_K:
      return {4, ScaleKind::kSuperMin, 2, 0, 3};
    case LinearForm::kQ3_K:
      return {4, ScaleKind::kSuper, 2, 4, 7};
    case LinearForm::kQ4_K:
      return {4, ScaleKind::kSuperMin, 1, 0, 15};
    case LinearForm::kQ5_K:
      return {8, ScaleKind::kSuperMin, 1, 0, 31};
    case LinearForm::kQ6_K:
      return {6, ScaleKind::kSuper, 2, 32, 63};
  }
  return {};
}

}  // namespace brayton::cpu
