#include "backends/cuda/kernels/gemm/gemm_portable.h"

#include "backends/cuda/kernels/gemm/linear_kernels.h"
#include "backends/cuda/kernels/vector_rows.h"
#include "backends/cuda/packed_linear.h"
#include "core/check.h"

namespace brayton::cuda {
namespace {

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

void require_sizes(const LinearArgs& args) {
  const bool type = args.x.dtype == DType::kBF16 || args.x.dtype == DType::kF16;
  if (type && args.y.dtype == args.x.dtype && args.x.dim(1) % 8 == 0 && rows_aligned(args.x))
    return;
  throw_error(ErrorCode::kUnsupported,
              "[linear] the tensor core kernel needs bf16 or f16 rows of x at multiples of 16 "
              "bytes and K a multiple of 8, got {} x {}",
              dtype_name(args.x.dtype), args.x.shape.str());
}

}  // namespace

PortableGemmChoice choose_gemm_portable(int64_t rows, int64_t n, const DeviceInfo& device) {
  const PortableGemmChoice large;
  const PortableGemmChoice small{64, 64, 2, 2, 4};
  const int64_t tiles = divide_up(rows, large.tile_m) * divide_up(n, large.tile_n);
  return tiles >= device.multiprocessors && large.shared_bytes() <= device.shared_per_block ? large
                                                                                            : small;
}

void linear_gemm(CudaStream& stream, const LinearArgs& args) {
  check(args);
  require_sizes(args);
  const TensorView& w = packed_weight(args);
  const int64_t rows = args.x.dim(0), columns = args.y.dim(1);
  const int64_t n = columns * (args.gated ? 2 : 1);
  BRAYTON_CHECK_EQ(w.dim(0), n);
  BRAYTON_CHECK(w.dtype == args.x.dtype);
  if (rows == 0) return;
  const PortableGemmChoice choice = choose_gemm_portable(rows, n, stream.device());

  KernelSpec spec("gemm/gemm_portable", "gemm");
  spec.type("ELEMENT", args.x.dtype)
      .define("OUTPUTS", n)
      .define("DEPTH", args.x.dim(1))
      .define("GATED", args.gated ? 1 : 0)
      .define("BIAS", args.bias ? 1 : 0)
      .define("ACTIVATION", args.activation ? static_cast<int64_t>(*args.activation) : -1)
      .define("TILE_M", choice.tile_m)
      .define("TILE_N", choice.tile_n)
      .define("WARPS_M", choice.warps_m)
      .define("WARPS_N", choice.warps_n)
      .define("STAGES", choice.stages)
      .define("VECTOR", rows_aligned(args.y) ? 1 : 0);
  LaunchShape launch;
  const int64_t tile_columns = choice.tile_n / (args.gated ? 2 : 1);
  launch.grid[0] =
      static_cast<unsigned>(divide_up(rows, choice.tile_m) * divide_up(columns, tile_columns));
  launch.threads = static_cast<unsigned>(choice.threads());
  launch.shared_bytes = static_cast<unsigned>(choice.shared_bytes());
  stream.launch(spec, launch, args.x.data, w.data, args.y.data, args.bias.data, args.x.strides[0],
                args.y.strides[0], to_int32(rows));
}

}  // namespace brayton::cuda
