// Activations in 8 bits for linear_q8.
//
// Rows come in tiles of `tile` tokens; a tile is for each block of 32 k
//   int8 q[tile][32], float d[tile], aux[tile][subs]
// with x = d * q. aux is the sum of x over a sub-block (float) for forms with minima, and -zero
// times the sum of q (int32) for the others.
#pragma once

#include "backends/cpu/linear_layout.h"
#include "backends/cpu/kernels/linear.h"

namespace brayton::cpu::BRAYTON_CPU_LEVEL {

constexpr int64_t quantized_block_bytes(const LinearLayout& layout) {
  return kBlock + 4 + 4 * layout.subs;  // of one token
}

// Tokens [token, token + tile) into `to`.
void quantize_tile(const LinearLayout& layout, const LinearWork& work, int64_t token, int tile,
                   uint8_t* to);

}  // namespace brayton::cpu::BRAYTON_CPU_LEVEL
