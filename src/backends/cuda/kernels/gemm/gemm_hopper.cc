#include "backends/cuda/kernels/gemm/gemm_hopper.h"

#include <algorithm>
#include <array>

#include "backends/cuda/kernels/gemm/linear_kernels.h"
#include "backends/cuda/kernels/vector_rows.h"
#include "backends/cuda/packed_linear.h"
#include "core/check.h"

namespace brayton::cuda {
namespace {

// Rows of `matrix` in boxes of box_rows by box_columns, which fill the swizzle's width.
CUtensorMap rows_map(const CudaStream& stream, const TensorView& matrix, int64_t box_columns,
                     int64_t box_rows) {
  TensorMapDesc desc;
  desc.data = matrix.data;
  desc.dtype = matrix.dtype;
  desc.size = {static_cast<uint64_t>(matrix.dim(1)), static_cast<uint64_t>(matrix.dim(0))};
  desc.stride = {static_cast<uint64_t>(matrix.strides[0]) * 2};
  desc.box = {static_cast<uint32_t>(box_columns), static_cast<uint32_t>(box_rows)};
  desc.swizzle = static_cast<int>(box_columns) * 2;
  return stream.tensor_map(desc);
}

bool sizes_fit(const LinearArgs& args) {
  const bool type = args.x.dtype == DType::kBF16 || args.x.dtype == DType::kF16;
  return type && args.y.dtype == args.x.dtype && args.x.dim(1) % 8 == 0 && args.y.dim(1) % 8 == 0 &&
         rows_aligned(args.x) && rows_aligned(args.y) &&
         reinterpret_cast<uintptr_t>(args.bias.data) % 8 == 0;
}

GemmShape shape_of(const LinearArgs& args) {
  return {args.x.dim(0), args.y.dim(1) * (args.gated ? 2 : 1), args.x.dim(1), args.gated};
}

// choose_gemm(), which takes longer than a launch, once for each layer of a model and thread.
GemmChoice remembered_choice(const GemmShape& shape, const DeviceInfo& device) {
  struct Memory {
    GemmShape shape;
    int multiprocessors = 0;
    int64_t shared_per_block = 0;
    GemmChoice choice;
  };
  static thread_local std::array<Memory, 64> memories;
  const uint64_t mixed =
      (static_cast<uint64_t>(shape.rows) * 31 + static_cast<uint64_t>(shape.n)) * 31 +
      static_cast<uint64_t>(shape.k);
  Memory& memory = memories[(mixed ^ mixed >> 6 ^ mixed >> 12) % memories.size()];
  if (!(memory.shape == shape) || memory.multiprocessors != device.multiprocessors ||
      memory.shared_per_block != device.shared_per_block)
    memory = {shape, device.multiprocessors, device.shared_per_block, choose_gemm(shape, device)};
  return memory.choice;
}

}  // namespace

bool gemm_hopper_supports(const DeviceInfo& device, const LinearArgs& args) {
  return device.hopper && sizes_fit(args);
}

void linear_gemm_hopper_with(CudaStream& stream, const LinearArgs& args, const GemmChoice& choice) {
  check(args);
  const TensorView& w = packed_weight(args);
  const GemmShape shape = shape_of(args);
  if (!sizes_fit(args))
    throw_error(ErrorCode::kUnsupported,
                "[linear] the Hopper kernel needs bf16 or f16 rows at multiples of 16 bytes and "
                "sizes that are multiples of 8, got {} x {} to {}",
                dtype_name(args.x.dtype), args.x.shape.str(), args.y.shape.str());
  BRAYTON_CHECK_EQ(w.dim(0), shape.n);
  BRAYTON_CHECK(w.dtype == args.x.dtype);
  if (shape.rows == 0) return;

  KernelSpec spec("gemm/gemm_hopper", "gemm");
  spec.type("ELEMENT", args.x.dtype)
      .define("OUTPUTS", shape.n)
      .define("DEPTH", shape.k)
      .define("GATED", shape.gated ? 1 : 0)
      .define("BIAS", args.bias ? 1 : 0)
      .define("ACTIVATION", args.activation ? static_cast<int64_t>(*args.activation) : -1)
      .define("CONSUMERS", choice.consumers)
      .define("TILE_N", choice.tile_n)
      .define("STAGES", choice.stages)
      .define("CHUNK", choice.chunk)
      .define("CLUSTER_M", choice.cluster_m)
      .define("CLUSTER_N", choice.cluster_n)
      .define("SPLITS", choice.splits);

  const int boxes = std::max(choice.cluster_m, shape.gated ? 2 : 1);
  const CUtensorMap x_map = rows_map(stream, args.x, 64, choice.tile_m() / choice.cluster_n);
  const CUtensorMap w_map = rows_map(stream, w, 64, choice.tile_n / boxes);
  const CUtensorMap y_map = rows_map(stream, args.y, choice.chunk, 16);

  LaunchShape launch;
  launch.cluster = static_cast<unsigned>(choice.blocks());
  launch.grid[0] =
      static_cast<unsigned>(gemm_clusters(shape, choice, stream.device())) * launch.cluster;
  launch.threads = 128 * static_cast<unsigned>(choice.consumers + 1);
  launch.shared_bytes = static_cast<unsigned>(gemm_shared_bytes(choice));
  void* exchange = nullptr;
  uint32_t* counters = nullptr;
  if (choice.splits > 1) {
    BRAYTON_CHECK_LE(launch.grid[0], static_cast<unsigned>(stream.device().multiprocessors));
    exchange = stream.workspace(size_t{launch.grid[0]} * choice.tile_m() * choice.tile_n * 4);
    counters = stream.counters(size_t{launch.grid[0]} * 4 * choice.consumers);
  }
  stream.launch(spec, launch, x_map, w_map, y_map, args.bias.as<const float>(), exchange, counters,
                to_int32(shape.rows));
}

void linear_gemm_hopper(CudaStream& stream, const LinearArgs& args) {
  check(args);
  linear_gemm_hopper_with(stream, args, remembered_choice(shape_of(args), stream.device()));
}

}  // namespace brayton::cuda
