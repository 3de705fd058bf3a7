// Activations as two planes of 8 bits for linear_q8.
//
// Rows come in tiles of `tile` tokens; a tile is for each block of 32 k
//   int8 high[tile][32], int8 low[tile][32], float d[tile], aux[tile][subs]
// with x = d * q, q = high * 2^kPlaneBits + low. aux is the sum of x over a sub-block (float) for
// forms with minima, and -zero times the sum of q (int32) for the others.
#pragma once

#include "backends/cpu/kernels/linear.h"
#include "backends/cpu/linear_layout.h"

namespace brayton::cpu::BRAYTON_CPU_LEVEL {

inline constexpr int kPlanes = 2;
inline constexpr int kPlaneBits = 7;  // |low| <= 2^6 then: both planes fit the 8-bit dot products

constexpr int64_t quantized_block_bytes(const LinearLayout& layout) {
  return kPlanes * kBlock + 4 + 4 * layout.subs;  // of one token
}

// Tokens [token, token + tile) into `to`.
void quantize_tile(const LinearLayout& layout, const LinearWork& work, int64_t token, int tile,
                   uint8_t* to);

}  // namespace brayton::cpu::BRAYTON_CPU_LEVEL
