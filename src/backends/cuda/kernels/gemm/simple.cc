// linear for any type and any size. See simple.cuh.
#include <algorithm>

#include "backends/cuda/kernels/gemm/linear_kernels.h"
#include "backends/cuda/kernels/vector_rows.h"
#include "backends/cuda/packed_linear.h"

namespace brayton::cuda {

void linear_simple(CudaStream& stream, const LinearArgs& args) {
  constexpr int64_t kFewRows = 16;  // up to here w is read again for every four rows
  constexpr int64_t kMostGridRows = 65535;
  const TensorView& w = packed_weight(args);
  const int64_t rows = args.x.dim(0), outputs = args.y.dim(1);
  const bool few = rows <= kFewRows;
  const int64_t block_rows = few ? 4 : 64, block_outputs = few ? 8 : 64;
  KernelSpec spec("gemm/simple", few ? "linear_rows" : "linear_tile");
  spec.type("ELEMENT", w.dtype)
      .define("GATED", args.gated)
      .define("BIAS", static_cast<bool>(args.bias))
      .define("ACTIVATION", args.activation ? static_cast<int>(*args.activation) : -1);
  // A grid has so many blocks along y.
  for (int64_t begin = 0; begin < rows; begin += kMostGridRows * block_rows) {
    const int64_t end = std::min(rows, begin + kMostGridRows * block_rows);
    const LaunchShape launch{
        .grid = {static_cast<unsigned>((outputs + block_outputs - 1) / block_outputs),
                 static_cast<unsigned>((end - begin + block_rows - 1) / block_rows)},
        .threads = 256};
    stream.launch(spec, launch, args.x.row(begin), w.data, args.bias.data, args.y.row(begin),
                  to_int32(end - begin), to_int32(outputs), to_int32(w.dim(1)),
                  to_int32(args.x.strides[0]), to_int32(args.y.strides[0]));
  }
}

}  // namespace brayton::cuda
