#include "backends/cuda/kernels/attention/prefill.h"

#include <algorithm>

#include "backends/cuda/kernels/vector_rows.h"

namespace brayton::cuda {
namespace {

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

int64_t PrefillConfig::shared_bytes(int64_t head_dim) const {
  const int64_t stride = divide_up(head_dim, 16) * 16 + 8;  // elements, as prefill.cuh has it
  return (rows() + 2 * keys) * stride * 2;
}

bool suits_tensor_cores(const AttentionArgs& args) {
  return args.q.dtype != DType::kF32 && args.q.dtype == args.cache.dtype && args.scale > 0.0f &&
         rows_aligned(args.q) && rows_aligned(args.y) && rows_aligned(args.cache);
}

int packed_heads(int64_t group, int64_t rows) {
  for (int64_t pack = std::min(group, rows); pack > 1; --pack)
    if (group % pack == 0 && rows / pack * pack * 10 >= rows * 9) return static_cast<int>(pack);
  return 1;
}

int64_t most_tiles(const PrefillRange& range, int64_t tokens) {
  return std::min(range.rows, (range.rows + range.sequences * (tokens - 1)) / tokens);
}

void define_attention(KernelSpec& spec, const AttentionArgs& args) {
  spec.type("ELEMENT", args.q.dtype)
      .define("HEAD_DIM", args.q.dim(2))
      .define("HEADS", args.q.dim(1))
      .define("KV_HEADS", args.cache.dim(2))
      .define("BLOCK_SIZE", args.cache.dim(3))
      .define("WINDOW", args.window > 0 ? 1 : 0)
      .define("SOFTCAP", args.softcap > 0.0f ? 1 : 0)
      .define("ALIBI", args.slopes ? 1 : 0);
}

int32_t window_of(const AttentionArgs& args) {
  return static_cast<int32_t>(std::min<int64_t>(args.window, 1 << 30));
}

PrefillConfig choose_prefill(const DeviceInfo& device, const AttentionArgs& args) {
  const int64_t head_dim = args.q.dim(2);
  if (!suits_tensor_cores(args) || head_dim % 8 != 0 || head_dim > 256) return {};
  PrefillConfig config;
  config.tensor_cores = true;
  // Registers: a thread has the sums of `tiles` times two rows' quarter, and as many scores.
  if (head_dim > 128) config.tiles = 1;
  if (head_dim > 80 && (args.slopes || args.softcap > 0.0f)) config.keys = 32;
  if (head_dim > 96 && device.capability >= 100) config.keys = 32;  // spills there with more
  while (config.keys > 16 && config.shared_bytes(head_dim) + 1024 > device.shared_per_block)
    config.keys /= 2;
  config.pack = packed_heads(args.q.dim(1) / args.cache.dim(2), config.rows());
  return config;
}

void attention_prefill(CudaStream& stream, const AttentionArgs& args, const PrefillRange& range) {
  if (range.sequences == 0 || range.rows == 0) return;
  const PrefillConfig config = choose_prefill(stream.device(), args);
  const int64_t heads = args.q.dim(1);
  LaunchShape shape;
  shape.threads = static_cast<unsigned>(32 * config.warps);
  const auto launch = [&](const KernelSpec& spec) {
    stream.launch(spec, shape, args.q.data, args.q.strides[0], args.cache.data,
                  args.query_offsets.data, args.kv_lengths.data, args.block_table.data,
                  to_int32(args.block_table.strides[0]), args.slopes.data, args.y.data,
                  args.y.strides[0], to_int32(range.first_sequence), to_int32(range.sequences),
                  args.scale, args.softcap, window_of(args));
  };
  if (!config.tensor_cores) {
    KernelSpec spec("attention/prefill_simple", "attention_prefill_simple");
    define_attention(spec, args);
    spec.type("CACHE_ELEMENT", args.cache.dtype).define("WARPS", config.warps);
    shape.grid[0] = static_cast<unsigned>(to_int32(divide_up(range.rows * heads, config.warps)));
    return launch(spec);
  }
  KernelSpec spec("attention/prefill", "attention_prefill");
  define_attention(spec, args);
  spec.define("PACK", config.pack)
      .define("WARPS", config.warps)
      .define("TILES", config.tiles)
      .define("KEYS", config.keys);
  shape.grid[0] =
      static_cast<unsigned>(to_int32(most_tiles(range, config.tokens()) * (heads / config.pack)));
  shape.shared_bytes = static_cast<unsigned>(config.shared_bytes(args.q.dim(2)));
  launch(spec);
}

}  // namespace brayton::cuda
