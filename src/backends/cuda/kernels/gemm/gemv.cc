#include "backends/cuda/kernels/gemm/gemv.h"

#include <algorithm>
#include <bit>

#include "backends/cuda/kernels/vector_rows.h"
#include "backends/cuda/packed_linear.h"
#include "core/check.h"

namespace brayton::cuda {
namespace {

constexpr int64_t kMostRows = 4;
constexpr int kMostStages = 3;
constexpr int kAhead = 5;  // stages on their way before the wait, in shared memory and in L2

}  // namespace

std::optional<GemvConfig> choose_gemv(const GemvShape& shape, const DeviceInfo& device) {
  if (shape.rows < 1 || shape.rows > kMostRows || shape.columns % 8 != 0 || shape.columns == 0)
    return std::nullopt;
  GemvConfig config;
  config.rows = static_cast<int>(std::bit_ceil(static_cast<uint64_t>(shape.rows)));
  config.bulk = device.hopper;
  // Two consecutive kernels should fit a multiprocessor, which keeps 1 KiB for itself for each
  // block.
  const int64_t most =
      device.hopper ? (device.shared_per_block + 1024) / 2 - 1024 : device.shared_per_block;
  const int64_t x_bytes = config.rows * shape.columns * 2;
  const int64_t stage_bytes = int64_t{config.warps} * (2 * config.piece * 2 + 8);  // and a barrier
  config.stages =
      static_cast<int>(std::clamp<int64_t>((most - x_bytes) / stage_bytes, 2, kMostStages));
  config.prefetch = config.bulk ? kAhead - config.stages : 0;
  config.shared_bytes = x_bytes + config.stages * stage_bytes;
  if (config.shared_bytes > device.shared_per_block) return std::nullopt;
  const int64_t pairs = shape.gated ? shape.outputs : (shape.outputs + 1) / 2;
  config.blocks = static_cast<unsigned>(std::min<int64_t>(device.multiprocessors, pairs));
  // The kernel computes a block's share in 32 bits.
  if ((config.blocks + int64_t{1}) * pairs >= INT32_MAX) return std::nullopt;
  return config;
}

void linear_gemv(CudaStream& stream, const LinearArgs& args) {
  const TensorView& w = packed_weight(args);
  const GemvShape shape{args.x.dim(0), args.y.dim(1), w.dim(1), args.gated};
  const auto config = choose_gemv(shape, stream.device());
  if (!config || !rows_aligned(args.x) || dtype_info(w.dtype).block_bytes != 2)
    throw_error(ErrorCode::kInternal, "[linear] gemv cannot take {} x {} and w {}",
                dtype_name(w.dtype), args.x.shape.str(), w.shape.str());
  KernelSpec spec("gemm/gemv", "gemv");
  spec.type("ELEMENT", w.dtype)
      .define("COLUMNS", shape.columns)
      .define("ROWS", config->rows)
      .define("WARPS", config->warps)
      .define("PIECE", config->piece)
      .define("STAGES", config->stages)
      .define("PREFETCH", config->prefetch)
      .define("BULK", config->bulk)
      .define("GATED", args.gated)
      .define("BIAS", static_cast<bool>(args.bias))
      .define("ACTIVATION", args.activation ? static_cast<int>(*args.activation) : -1);
  const LaunchShape launch{.grid = {config->blocks},
                           .threads = static_cast<unsigned>(config->warps) * 32,
                           .shared_bytes = static_cast<unsigned>(config->shared_bytes)};
  stream.launch(spec, launch, w.data, args.x.data, args.bias.data, args.y.data,
                to_int32(shape.outputs), to_int32(shape.rows), to_int32(args.x.strides[0]),
                to_int32(args.y.strides[0]));
}

}  // namespace brayton::cuda
