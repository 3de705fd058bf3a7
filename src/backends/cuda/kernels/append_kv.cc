#include "backends/cuda/kernels/append_kv.h"

#include "backends/cuda/kernels/rope.h"
#include "backends/cuda/kernels/vector_rows.h"

namespace brayton::cuda {
void append_kv(Stream& any_stream, const AppendKvArgs& args) {
  check(args);
  check_heads("append_kv", args.q, "q");
  check_heads("append_kv", args.k, "k");
  check_heads("append_kv", args.v, "v");
  const int64_t tokens = args.q.dim(0);
  const int64_t sequences = args.kv_lengths.dim(0);
  if (tokens == 0 || sequences == 0) return;
  const int64_t heads = args.q.dim(1);
  const int64_t kv_heads = args.k.dim(1);
  const int64_t head_dim = args.q.dim(2);
  const int64_t pairs = args.inv_freq ? args.inv_freq.dim(0) : 0;
  const int access =
      rotary_access({args.q, args.k, args.v, args.cache}, head_dim, pairs, args.interleaved);
  const RotaryUnits units = rotary_units(head_dim, pairs, args.interleaved, access);
  const int64_t token_units =
      (heads + kv_heads) * units.turning + kv_heads * (units.passing + units.all);
  CudaStream& stream = cuda_stream(any_stream);
  const RotaryConfig config = choose_rotary(stream.device(), tokens, token_units, pairs);
  KernelSpec spec("append_kv", "append_kv");
  spec.type("ELEMENT", args.q.dtype)
      .type("CACHE_ELEMENT", args.cache.dtype)
      .define("HEADS", heads)
      .define("KV_HEADS", kv_heads)
      .define("HEAD_DIM", head_dim)
      .define("PAIRS", pairs)
      .define("INTERLEAVED", args.interleaved ? 1 : 0)
      .define("BLOCK_SIZE", args.cache.dim(3))
      .define("ACCESS", access)
      .define("THREADS", RotaryConfig::kThreads)
      .define("TOKENS", config.tokens)
      .define("UNITS", config.units);
  LaunchShape shape;
  shape.grid = {config.grid[0], config.grid[1], 1};
  shape.threads = RotaryConfig::kThreads;
  stream.launch(spec, shape, args.q.data, args.q.strides[0], args.k.data, args.k.strides[0],
                args.v.data, args.v.strides[0], args.positions.data, args.inv_freq.data,
                args.cache.data, args.query_offsets.data, args.kv_lengths.data,
                args.block_table.data, to_int32(args.block_table.strides[0]), to_int32(sequences),
                to_int32(tokens), args.scale);
}

}  // namespace brayton::cuda
