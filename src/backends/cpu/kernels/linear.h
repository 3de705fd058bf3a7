// The two halves of `linear`: activations in float32, and activations in 8 bits. Per level.
#pragma once

#include "backends/cpu/cpu_stream.h"
#include "backends/cpu/linear_layout.h"
#include "ops/linear.h"

namespace brayton::cpu::BRAYTON_CPU_LEVEL {

// Rows of x and y may be strided; y is float32.
struct LinearWork {
  const uint8_t* w;  // packed
  const float* x;
  const float* bias;  // or null
  float* y;
  int64_t n, k, tokens;
  int64_t x_stride, y_stride;  // elements
};

void linear_f32(CpuStream& stream, LinearForm form, const LinearWork& work);
void linear_q8(CpuStream& stream, LinearForm form, const LinearWork& work);

// How the groups of rows and the tokens are cut into pieces for threads.
struct LinearPieces {
  int64_t groups, group_chunk, group_chunks;
  int64_t token_chunk, token_chunks;
  int64_t count() const { return group_chunks * token_chunks; }
};
// `token_chunk`: tokens whose activations stay in the level-2 cache, a multiple of the tiles'.
LinearPieces cut_linear(const LinearWork& work, int64_t group_bytes, int threads,
                        int64_t token_chunk);

struct LinearPiece {
  int64_t group, group_end, token, token_end;
};
LinearPiece linear_piece(const LinearWork& work, const LinearPieces& pieces, int64_t piece);

}  // namespace brayton::cpu::BRAYTON_CPU_LEVEL
