// The linear kernels. All compute LinearArgs' formula, gated form included, with w row-major [N,
// K].
#pragma once

#include "backends/cuda/cuda_stream.h"
#include "ops/linear.h"

namespace brayton::cuda {

// 1 to 4 rows of x, CUDA cores. bf16, f16; K a multiple of 8.
void linear_gemv(CudaStream& stream, const LinearArgs& args);
// 1 to 64 rows (up to 128 allowed), weights as the tensor cores' first operand. bf16, f16; K a
// multiple of 8.
void linear_skinny(CudaStream& stream, const LinearArgs& args);
// Any number of rows, Hopper: persistent, TMA and wgmma. bf16, f16; K and N multiples of 8.
void linear_gemm_hopper(CudaStream& stream, const LinearArgs& args);
// Any number of rows, sm_80 and later: mma.sync and cp.async. bf16, f16; K a multiple of 8.
void linear_gemm(CudaStream& stream, const LinearArgs& args);
// Anything: any type, any size, float32 arithmetic; the oracle path.
void linear_simple(CudaStream& stream, const LinearArgs& args);

}  // namespace brayton::cuda
