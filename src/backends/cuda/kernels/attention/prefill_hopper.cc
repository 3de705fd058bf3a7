#include "backends/cuda/kernels/attention/prefill_hopper.h"

#include <algorithm>
#include <bit>

#include "backends/cuda/kernels/attention/prefill.h"
#include "backends/cuda/kernels/vector_rows.h"

namespace brayton::cuda {
namespace {

constexpr int64_t kPanel = 64;  // elements of 128 bytes, what the swizzle covers

// Boxes of all of a tile's heads and tokens, 64 columns wide.
TensorMapDesc query_map(const AttentionArgs& args, const PrefillHopperConfig& config) {
  const auto size = [](int64_t n) { return static_cast<uint64_t>(n); };
  TensorMapDesc desc;
  desc.data = args.q.data;
  desc.dtype = args.q.dtype;
  desc.rank = 3;
  desc.size = {size(args.q.dim(2)), size(args.q.dim(1)), size(args.q.dim(0))};
  desc.stride = {size(args.q.dim(2) * 2), size(args.q.strides[0] * 2)};
  desc.box = {static_cast<uint32_t>(kPanel), static_cast<uint32_t>(config.pack),
              static_cast<uint32_t>(config.tokens())};
  return desc;
}

// The cache's rows in eights, so that eight rows' panels lie together in shared memory:
// [rows / 8, panels, 8, 64].
TensorMapDesc cache_map(const AttentionArgs& args, const PrefillHopperConfig& config) {
  const int64_t head_dim = args.cache.dim(4);
  const int64_t rows = args.cache.elements() / head_dim;
  const auto size = [](int64_t n) { return static_cast<uint64_t>(n); };
  TensorMapDesc desc;
  desc.data = args.cache.data;
  desc.dtype = args.cache.dtype;
  desc.rank = 4;
  desc.size = {size(kPanel), 8, size(head_dim / kPanel), size(rows / 8)};
  desc.stride = {size(head_dim * 2), size(kPanel * 2), size(8 * head_dim * 2)};
  desc.box = {static_cast<uint32_t>(kPanel), 8, static_cast<uint32_t>(head_dim / kPanel),
              static_cast<uint32_t>(config.box_keys(args.cache.dim(3)) / 8)};
  return desc;
}

}  // namespace

int64_t PrefillHopperConfig::shared_bytes(int64_t head_dim) const {
  constexpr int64_t kBarriersAndTile = 512, kAlignment = 1024;
  return (rows() + 2 * int64_t{stages} * keys) * head_dim * 2 + kBarriersAndTile + kAlignment;
}

int64_t PrefillHopperConfig::box_keys(int64_t block_size) const {
  return std::min<int64_t>(block_size, keys & -keys);
}

PrefillHopperConfig choose_prefill_hopper(const AttentionArgs& args) {
  const int64_t head_dim = args.q.dim(2);
  const bool rules = args.slopes || args.softcap > 0.0f;  // cost registers
  PrefillHopperConfig config;
  if (head_dim == 64) {
    config.warpgroups = 3;
    if (rules) config.keys = 96;
  } else if (head_dim == 256) {
    config.keys = args.window > 0 ? 64 : 80;  // a window's edges cost less with short steps
  }
  config.pack = packed_heads(args.q.dim(1) / args.cache.dim(2), config.rows());
  return config;
}

bool prefill_hopper_supports(const DeviceInfo& device, const AttentionArgs& args) {
  const int64_t head_dim = args.q.dim(2);
  const auto block_size = static_cast<uint64_t>(args.cache.dim(3));
  if (!device.hopper || !suits_tensor_cores(args)) return false;
  if (head_dim != 64 && head_dim != 128 && head_dim != 256) return false;
  if (block_size < 16 || !std::has_single_bit(block_size)) return false;
  return choose_prefill_hopper(args).shared_bytes(head_dim) <= device.shared_per_block;
}

void attention_prefill_hopper(CudaStream& stream, const AttentionArgs& args,
                              const PrefillRange& range) {
  if (range.sequences == 0 || range.rows == 0) return;
  const PrefillHopperConfig config = choose_prefill_hopper(args);
  KernelSpec spec("attention/prefill_hopper", "attention_prefill_hopper");
  define_attention(spec, args);
  spec.define("PACK", config.pack)
      .define("WARPGROUPS", config.warpgroups)
      .define("KEYS", config.keys)
      .define("STAGES", config.stages);
  const int64_t items = most_tiles(range, config.tokens()) * (args.q.dim(1) / config.pack);
  LaunchShape shape;
  shape.grid[0] = static_cast<unsigned>(std::min<int64_t>(items, stream.device().multiprocessors));
  shape.threads = static_cast<unsigned>(config.threads());
  shape.shared_bytes = static_cast<unsigned>(config.shared_bytes(args.q.dim(2)));
  const CUtensorMap queries = stream.tensor_map(query_map(args, config));
  const CUtensorMap cache = stream.tensor_map(cache_map(args, config));
  stream.launch(spec, shape, queries, cache, args.query_offsets.data, args.kv_lengths.data,
                args.block_table.data, to_int32(args.block_table.strides[0]), args.slopes.data,
                args.y.data, args.y.strides[0], to_int32(range.first_sequence),
                to_int32(range.sequences), args.scale, args.softcap, window_of(args),
                stream.counters(2));
}

}  // namespace brayton::cuda
