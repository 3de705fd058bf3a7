#include "backends/cuda/kernels/append_kv.h"

#include <algorithm>
#include <bit>

#include "backends/cuda/kernels/vector_rows.h"

namespace brayton::cuda {
namespace {

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

AppendKvConfig choose_append_kv(const DeviceInfo& device, int64_t tokens,
                                const AppendKvSizes& sizes, int access) {
  const RotaryUnits units = rotary_units(sizes.head_dim, sizes.pairs, sizes.interleaved, access);
  const int64_t of_key = units.turning + units.passing;
  AppendKvConfig config;
  if (!sizes.q_norm && !sizes.k_norm) {
    const int64_t of_token = (sizes.heads + sizes.kv_heads) * units.turning +
                             sizes.kv_heads * (units.passing + units.all);
    config.blocks = choose_rotary(device, tokens, of_token, sizes.pairs);
    config.units = config.blocks.units;
    return config;
  }
  config.lanes = static_cast<int>(std::min<uint64_t>(std::bit_ceil<uint64_t>(of_key), 32));
  const int64_t rounds = divide_up(of_key, config.lanes);
  const bool q_changes = sizes.q_norm || sizes.pairs > 0;
  const int64_t of_token = (2 * sizes.kv_heads + (q_changes ? sizes.heads : 0)) * config.lanes;
  if (rounds == 1) {
    config.blocks = choose_rotary(device, tokens, of_token, sizes.pairs);
  } else {  // registers suffice for one head
    config.blocks.grid[0] = static_cast<unsigned>(tokens);
    config.blocks.grid[1] = static_cast<unsigned>(divide_up(of_token, RotaryConfig::kThreads));
  }
  config.units = static_cast<int>(config.blocks.units * rounds);
  return config;
}

void append_kv(Stream& any_stream, const AppendKvArgs& args) {
  check(args);
  check_heads("append_kv", args.q, "q");
  check_heads("append_kv", args.k, "k");
  check_heads("append_kv", args.v, "v");
  const int64_t tokens = args.q.dim(0);
  const int64_t sequences = args.kv_lengths.dim(0);
  if (tokens == 0 || sequences == 0) return;
  const AppendKvSizes sizes{.heads = args.q.dim(1),
                            .kv_heads = args.k.dim(1),
                            .head_dim = args.q.dim(2),
                            .pairs = args.inv_freq ? args.inv_freq.dim(0) : 0,
                            .interleaved = args.interleaved,
                            .q_norm = static_cast<bool>(args.q_norm),
                            .k_norm = static_cast<bool>(args.k_norm)};
  const int access = rotary_access({args.q, args.k, args.v, args.cache}, sizes.head_dim,
                                   sizes.pairs, sizes.interleaved);
  CudaStream& stream = cuda_stream(any_stream);
  const AppendKvConfig config = choose_append_kv(stream.device(), tokens, sizes, access);
  KernelSpec spec("append_kv", "append_kv");
  spec.type("ELEMENT", args.q.dtype)
      .type("CACHE_ELEMENT", args.cache.dtype)
      .define("HEADS", sizes.heads)
      .define("KV_HEADS", sizes.kv_heads)
      .define("HEAD_DIM", sizes.head_dim)
      .define("PAIRS", sizes.pairs)
      .define("INTERLEAVED", sizes.interleaved ? 1 : 0)
      .define("Q_NORM", sizes.q_norm ? 1 : 0)
      .define("K_NORM", sizes.k_norm ? 1 : 0)
      .define("LANES", config.lanes)
      .define("BLOCK_SIZE", args.cache.dim(3))
      .define("ACCESS", access)
      .define("THREADS", RotaryConfig::kThreads)
      .define("TOKENS", config.blocks.tokens)
      .define("UNITS", config.units);
  LaunchShape shape;
  shape.grid = {config.blocks.grid[0], config.blocks.grid[1], 1};
  shape.threads = RotaryConfig::kThreads;
  stream.launch(spec, shape, args.q.data, args.q.strides[0], args.k.data, args.k.strides[0],
                args.v.data, args.v.strides[0], args.positions.data, args.inv_freq.data,
                args.q_norm.data, args.k_norm.data, args.cache.data, args.query_offsets.data,
                args.kv_lengths.data, args.block_table.data, to_int32(args.block_table.strides[0]),
                to_int32(sequences), to_int32(tokens), args.scale, args.norm_eps);
}

}  // namespace brayton::cuda
