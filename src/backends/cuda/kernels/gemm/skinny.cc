#include "backends/cuda/kernels/gemm/skinny.h"

#include <algorithm>
#include <bit>

#include "backends/cuda/kernels/vector_rows.h"
#include "backends/cuda/packed_linear.h"
#include "core/check.h"

namespace brayton::cuda {
namespace {

constexpr int64_t kMostRows = 128;
constexpr int64_t kTileRows = 128;  // these two as in skinny_output.cuh
constexpr int64_t kChunk = 64;
constexpr int64_t kWeightBytes = kTileRows * kChunk * 2;  // of a unit
constexpr int kMostStages = 6;
constexpr int kAhead = 10;  // units on their way before the wait, in shared memory and in L2
constexpr int64_t kLeastUnits = 4;   // of a block: below, adding up costs more than it gains
constexpr int kClusterTokens = 128;  // from here on x is so much that two blocks share its reading
constexpr int kManyTokens = 64;      // from here on x takes a stage less, for more stages of w

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Of `most` blocks that can run at once. Equal shares of whole tiles where that takes nearly all of
// them, as fewer blocks then share a tile.
int64_t choose_blocks(int64_t tiles, int64_t chunks, int64_t most) {
  most = std::min(most, std::max<int64_t>(1, tiles * chunks / kLeastUnits));
  const int64_t whole = most / tiles * tiles;
  return whole * 10 >= most * 9 ? whole : most;
}

}  // namespace

std::optional<SkinnyConfig> choose_skinny(const SkinnyShape& shape, const DeviceInfo& device) {
  if (shape.rows < 1 || shape.rows > kMostRows || shape.columns % 8 != 0 || shape.columns == 0 ||
      shape.outputs == 0)
    return std::nullopt;
  SkinnyConfig config;
  config.tokens = static_cast<int>(std::max<uint64_t>(8, std::bit_ceil(uint64_t(shape.rows))));
  // A box of gate and up rows has whole groups of eight.
  config.hopper = device.hopper && !(shape.gated && shape.outputs % 8 != 0);
  const int64_t tiles = divide_up(shape.outputs, shape.gated ? kTileRows / 2 : kTileRows);
  const int64_t chunks = divide_up(shape.columns, kChunk);
  if (config.hopper && config.tokens >= kClusterTokens && tiles > 1) config.cluster = 2;
  const int64_t groups = divide_up(tiles, config.cluster);
  const int64_t clusters = choose_blocks(groups, chunks, device.multiprocessors / config.cluster);
  // The kernels divide the work in 32 bits.
  if ((groups * chunks + 1) * (clusters + 1) >= INT32_MAX) return std::nullopt;
  config.blocks = static_cast<int>(clusters) * config.cluster;
  config.tiles = static_cast<int>(groups) * config.cluster;
  config.workspace_bytes =
      int64_t{config.blocks} * 2 * config.tokens * kTileRows * int64_t{sizeof(float)};
  const int64_t token_bytes = config.tokens * kChunk * 2;
  if (config.hopper) {
    // Two consecutive kernels should fit a multiprocessor, which keeps 1 KiB for itself for each.
    const int64_t most = (device.shared_per_block + 1024) / 2 - 1024;
    config.x_stages = config.tokens < kManyTokens ? 4 : 3;
    const int64_t stage_bytes = kWeightBytes + 16;  // and two barriers
    const int64_t x_bytes = config.x_stages * (token_bytes + 8);
    config.stages =
        static_cast<int>(std::min<int64_t>((most - x_bytes) / stage_bytes, kMostStages));
    config.prefetch = kAhead - config.stages;
    config.shared_bytes = config.stages * stage_bytes + x_bytes;
  } else {
    const int64_t stage_bytes = kWeightBytes + token_bytes;
    config.stages =
        static_cast<int>(std::min<int64_t>(device.shared_per_block / stage_bytes, kMostStages));
    config.shared_bytes = config.stages * stage_bytes;
  }
  return config;
}

namespace {

TensorMapDesc weight_map(const TensorView& w, bool gated) {
  TensorMapDesc desc{.data = w.data, .dtype = w.dtype};
  const auto rows = static_cast<uint64_t>(w.dim(0)), columns = static_cast<uint64_t>(w.dim(1));
  const uint64_t row_bytes = columns * 2;
  if (gated) {  // groups of eight gate rows, then their up rows
    desc.rank = 4;
    desc.size = {columns, 8, 2, rows / 16};
    desc.stride = {row_bytes, rows / 2 * row_bytes, 8 * row_bytes};
    desc.box = {kChunk, 8, 2, kTileRows / 16};
  } else {
    desc.size = {columns, rows};
    desc.stride = {row_bytes};
    desc.box = {kChunk, kTileRows};
  }
  return desc;
}

TensorMapDesc token_map(const TensorView& x, int rows) {
  return {.data = x.data,
          .dtype = x.dtype,
          .size = {static_cast<uint64_t>(x.dim(1)), static_cast<uint64_t>(x.dim(0))},
          .stride = {static_cast<uint64_t>(x.strides[0]) * 2},
          .box = {kChunk, static_cast<uint32_t>(rows)}};
}

}  // namespace

void linear_skinny(CudaStream& stream, const LinearArgs& args) {
  const TensorView& w = packed_weight(args);
  const SkinnyShape shape{args.x.dim(0), args.y.dim(1), w.dim(1), args.gated};
  const auto config = choose_skinny(shape, stream.device());
  if (!config || !rows_aligned(args.x) || dtype_info(w.dtype).block_bytes != 2)
    throw_error(ErrorCode::kInternal, "[linear] skinny cannot take {} x {} and w {}",
                dtype_name(w.dtype), args.x.shape.str(), w.shape.str());
  KernelSpec spec = config->hopper ? KernelSpec("gemm/skinny_hopper", "skinny_hopper")
                                   : KernelSpec("gemm/skinny", "skinny");
  spec.type("ELEMENT", w.dtype)
      .define("TOKENS", config->tokens)
      .define("STAGES", config->stages)
      .define("CLUSTER", config->cluster)
      .define("GATED", args.gated)
      .define("BIAS", static_cast<bool>(args.bias))
      .define("ACTIVATION", args.activation ? static_cast<int>(*args.activation) : -1);
  const LaunchShape launch{.grid = {static_cast<unsigned>(config->blocks)},
                           .threads = config->hopper ? 320u : 256u,
                           .shared_bytes = static_cast<unsigned>(config->shared_bytes),
                           .cluster = static_cast<unsigned>(config->cluster)};
  void* const partials = stream.workspace(static_cast<size_t>(config->workspace_bytes));
  uint32_t* const arrivals = stream.counters(static_cast<size_t>(config->tiles));
  const int32_t tokens = to_int32(shape.rows), outputs = to_int32(shape.outputs),
                columns = to_int32(shape.columns);
  const int32_t x_stride = to_int32(args.x.strides[0]), y_stride = to_int32(args.y.strides[0]);
  if (config->hopper) {
    spec.define("X_STAGES", config->x_stages).define("PREFETCH", config->prefetch);
    stream.launch(spec, launch, stream.tensor_map(weight_map(w, args.gated)),
                  stream.tensor_map(token_map(args.x, config->tokens / config->cluster)),
                  args.bias.data, args.y.data, partials, arrivals, tokens, outputs, columns,
                  y_stride);
  } else {
    stream.launch(spec, launch, w.data, args.x.data, args.bias.data, args.y.data, partials,
                  arrivals, tokens, outputs, columns, x_stride, y_stride);
  }
}

}  // namespace brayton::cuda
