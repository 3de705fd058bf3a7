#include "backends/cuda/kernels/dequantize.h"

#include <algorithm>

#include "core/check.h"

namespace brayton::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kElements = 8;  // of a thread at a time

// dequantize.cuh has the same numbers.
static_assert(static_cast<int>(DType::kQ4_0) == 32 && static_cast<int>(DType::kQ8_0) == 36 &&
              static_cast<int>(DType::kQ2_K) == 37 && static_cast<int>(DType::kQ6_K) == 41);

}  // namespace

void dequantize(CudaStream& stream, const void* blocks, DType format, int64_t elements, DType to,
                void* out) {
  BRAYTON_CHECK(is_quantized(format));
  BRAYTON_CHECK_EQ(elements % dtype_info(format).block_elements, 0);
  if (elements == 0) return;
  KernelSpec spec("dequantize", "dequantize");
  spec.define("FORMAT", static_cast<int>(format)).type("ELEMENT", to).define("THREADS", kThreads);
  constexpr int64_t kABlock = kThreads * kElements;
  LaunchShape shape;
  shape.grid[0] = static_cast<unsigned>(std::min<int64_t>(
      (elements + kABlock - 1) / kABlock, int64_t{stream.device().multiprocessors} * 64));
  shape.threads = kThreads;
  stream.launch(spec, shape, blocks, elements, out);
}

}  // namespace brayton::cuda
