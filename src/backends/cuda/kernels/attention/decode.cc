#include "backends/cuda/kernels/attention/decode.h"

#include <algorithm>

#include "backends/cuda/kernels/attention/attention_shape.h"
#include "backends/cuda/kernels/vector_rows.h"
#include "core/format.h"

namespace brayton::cuda {
namespace {

constexpr int64_t kReserved = 1024;      // shared memory that each block takes for the system
constexpr int64_t kPlanSequences = 512;  // that rings leave room for
constexpr int kMaxStages = 4;
// Of so few sequences a multiprocessor gets one block, which leaves room for the next kernel: it
// fetches its weights meanwhile.
constexpr int64_t kFewSequences = 8;
constexpr int64_t kJoinBytes = 9 << 20;  // that memory yields in the time of joining parts of units

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// As decode.cuh has them.
int64_t stage_bytes(const DecodeConfig& config, int64_t head_dim) {
  return (config.heads + 2 * config.tile) * (2 * head_dim + 16);
}
int64_t join_bytes(const DecodeConfig& config, int64_t head_dim) {
  return config.warps * config.heads * (4 * (head_dim + 4) + 8);
}
int64_t plan_bytes(const DecodeConfig& config, int64_t sequences) {
  return 4 * (2 * config.warps + 1 + 2 * sequences + 1);
}

bool suits_tensor_cores(const AttentionArgs& args) {
  const int64_t head_dim = args.q.dim(2);
  return args.q.dtype != DType::kF32 && args.q.dtype == args.cache.dtype && head_dim % 16 == 0 &&
         head_dim <= 256 && rows_aligned(args.q) && rows_aligned(args.y) &&
         rows_aligned(args.cache);
}

// Heads lie side by side in a row.
void check_heads(const TensorView& x, const char* name) {
  if (x.dim(1) > 1 && x.strides[1] != x.dim(2))
    throw_error(ErrorCode::kInvalidArgument,
                "[attention] {}'s heads must be {} elements apart, got {}", name, x.dim(2),
                x.strides[1]);
}

void launch_simple(CudaStream& stream, const AttentionArgs& args) {
  KernelSpec spec("attention/decode_simple", "attention_decode_simple");
  spec.type("ELEMENT", args.q.dtype)
      .type("CACHE_ELEMENT", args.cache.dtype)
      .define("HEADS", args.q.dim(1))
      .define("KV_HEADS", args.cache.dim(2))
      .define("HEAD_DIM", args.q.dim(2))
      .define("BLOCK_SIZE", args.cache.dim(3))
      .define("WINDOW", args.window > 0 ? 1 : 0)
      .define("ALIBI", args.slopes ? 1 : 0)
      .define("SOFTCAP", args.softcap > 0.0f ? 1 : 0);
  LaunchShape shape;
  shape.grid = {static_cast<unsigned>(args.q.dim(1)), static_cast<unsigned>(args.decodes), 1};
  shape.threads = 256;
  stream.launch(spec, shape, args.q.data, args.q.strides[0], args.cache.data, args.kv_lengths.data,
                args.block_table.data, to_int32(args.block_table.strides[0]), args.slopes.data,
                args.y.data, args.y.strides[0], args.scale, to_int32(args.window), args.softcap);
}

}  // namespace

int64_t DecodeConfig::shared_bytes(int64_t head_dim, int64_t sequences) const {
  return warps * stages * stage_bytes(*this, head_dim) + join_bytes(*this, head_dim) +
         plan_bytes(*this, sequences);
}

int64_t DecodeConfig::grid(const DeviceInfo& device, const AttentionArgs& args) const {
  const int64_t kv_heads = args.cache.dim(2);
  const int64_t units = args.decodes * kv_heads * passes(args.q.dim(1) / kv_heads);
  const int64_t keys = args.block_table.dim(1) * args.cache.dim(3);
  const int64_t chunks = units * divide_up(keys, warps * tile);
  const int at_once = args.decodes <= kFewSequences ? 1 : blocks;
  return std::clamp<int64_t>(chunks, 1, int64_t{device.multiprocessors} * at_once);
}

DecodeConfig choose_decode(const DeviceInfo& device, const AttentionArgs& args) {
  DecodeConfig config;
  if (!suits_tensor_cores(args)) return config;
  config.tensor_cores = true;
  const int64_t head_dim = args.q.dim(2);
  const int64_t group = args.q.dim(1) / args.cache.dim(2);
  // Registers: the sums of 16 heads of 128 dimensions, or 8 of 256.
  const int64_t passes = divide_up(group, head_dim <= 128 ? 16 : 8);
  config.heads = static_cast<int>(divide_up(group, passes));
  config.tile = head_dim <= 64 && args.cache.dim(3) % 32 == 0 ? 32 : 16;
  // Two blocks hide each other's joins. Fewer warps only where rings of four don't fit.
  for (config.warps = 4; config.warps >= 1; config.warps /= 2)
    for (config.blocks = 2; config.blocks >= 1; --config.blocks) {
      const int64_t block_bytes = (device.shared_per_block + kReserved) / config.blocks - kReserved;
      const int64_t ring_bytes =
          block_bytes - join_bytes(config, head_dim) - plan_bytes(config, kPlanSequences);
      const int64_t stages = ring_bytes / (config.warps * stage_bytes(config, head_dim));
      if (stages < 2) continue;
      config.stages = static_cast<int>(std::min<int64_t>(stages, kMaxStages));
      return config;
    }
  return {};
}

void attention_decode(CudaStream& stream, const AttentionArgs& args) {
  if (args.decodes == 0) return;
  check_heads(args.q, "q");
  check_heads(args.y, "y");
  const DecodeConfig config = choose_decode(stream.device(), args);
  if (!config.tensor_cores) return launch_simple(stream, args);
  const int64_t head_dim = args.q.dim(2);
  const int64_t kv_heads = args.cache.dim(2);
  KernelSpec spec("attention/decode", "attention_decode");
  spec.type("ELEMENT", args.q.dtype)
      .define("HEAD_DIM", head_dim)
      .define("KV_HEADS", kv_heads)
      .define("GROUP", args.q.dim(1) / kv_heads)
      .define("HEADS", config.heads)
      .define("BLOCK_SIZE", args.cache.dim(3))
      .define("TILE", config.tile)
      .define("WARPS", config.warps)
      .define("STAGES", config.stages)
      .define("BLOCKS", config.blocks)
      .define("JOIN_CHUNKS", kJoinBytes / (config.warps * config.tile * 2 * 2 * head_dim))
      .define("WINDOW", args.window > 0 ? 1 : 0)
      .define("ALIBI", args.slopes ? 1 : 0)
      .define("SOFTCAP", args.softcap > 0.0f ? 1 : 0);
  const int64_t shared_bytes = config.shared_bytes(head_dim, args.decodes);
  if (shared_bytes > stream.device().shared_per_block)
    throw_error(ErrorCode::kResourceExhausted,
                "[attention] shared memory for {} decodes must be at most {} bytes, got {}; use "
                "fewer sequences in a step",
                args.decodes, stream.device().shared_per_block, shared_bytes);
  const int64_t grid = config.grid(stream.device(), args);
  // Partial results: two of each block.
  const int64_t partial_bytes = 2 * grid * config.heads * (head_dim + 2) * sizeof(float);
  LaunchShape shape;
  shape.grid[0] = static_cast<unsigned>(grid);
  shape.threads = static_cast<unsigned>(32 * config.warps);
  shape.shared_bytes = static_cast<unsigned>(shared_bytes);
  stream.launch(spec, shape, args.q.data, args.q.strides[0], args.cache.data, args.kv_lengths.data,
                args.block_table.data, to_int32(args.block_table.strides[0]), args.slopes.data,
                args.y.data, args.y.strides[0], stream.workspace(partial_bytes),
                stream.counters(grid), to_int32(args.decodes), args.scale, to_int32(args.window),
                args.softcap);
}

}  // namespace brayton::cuda
