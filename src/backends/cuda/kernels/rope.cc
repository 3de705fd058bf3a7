#include "backends/cuda/kernels/rope.h"

#include <algorithm>

#include "backends/cuda/kernels/vector_rows.h"
#include "core/format.h"

namespace brayton::cuda {
namespace {

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

void check_heads(const char* op, const TensorView& x, const char* name) {
  if (x.dim(1) > 1 && x.strides[1] != x.dim(2))
    throw_error(ErrorCode::kInvalidArgument, "[{}] {}'s heads must be {} elements apart, got {}",
                op, name, x.dim(2), x.strides[1]);
}

RotaryUnits rotary_units(int64_t head_dim, int64_t pairs, bool interleaved, int access) {
  const int64_t vector = interleaved ? std::max(access, 2) : access;
  return {.turning = divide_up(2 * pairs / vector, 2),
          .passing = divide_up((head_dim - 2 * pairs) / access, 2),
          .all = divide_up(head_dim / access, 2)};
}

int rotary_access(std::initializer_list<TensorView> rows, int64_t head_dim, int64_t pairs,
                  bool interleaved) {
  int64_t widest = 1;
  for (const TensorView& x : rows)
    widest = std::max<int64_t>(widest, dtype_info(x.dtype).block_bytes);
  int access = static_cast<int>(16 / widest);
  const auto suits = [&](int64_t elements) { return elements % access == 0; };
  const auto all_suit = [&] {
    if (!suits(head_dim) || !suits(interleaved ? 2 * pairs : pairs)) return false;
    return std::all_of(rows.begin(), rows.end(), [&](const TensorView& x) {
      const int64_t bytes = dtype_info(x.dtype).block_bytes;
      return suits(x.strides[0]) && reinterpret_cast<uintptr_t>(x.data) % (access * bytes) == 0;
    });
  };
  while (!all_suit()) access /= 2;
  return access;
}

RotaryConfig choose_rotary(const DeviceInfo& device, int64_t tokens, int64_t token_units,
                           int64_t pairs) {
  constexpr int64_t kThreads = RotaryConfig::kThreads;
  RotaryConfig config;
  // Few tokens: as many blocks as there can be. More: as many loads under way as registers allow,
  // no threads without work, and no more cosines than needed, which cost about as much as a unit.
  if (tokens * token_units > 8 * kThreads * device.multiprocessors) {
    double least = 0.0;
    for (int block_tokens = 1; block_tokens <= 4; ++block_tokens)
      for (int units = 3; units >= 2; --units) {
        const int64_t slices = divide_up(block_tokens * token_units, kThreads * units);
        const double cost =
            static_cast<double>(slices * (kThreads * units + block_tokens * pairs)) / block_tokens;
        if (least > 0.0 && cost >= least) continue;
        least = cost;
        config.tokens = block_tokens;
        config.units = units;
      }
  }
  config.grid[0] = static_cast<unsigned>(divide_up(tokens, config.tokens));
  config.grid[1] =
      static_cast<unsigned>(divide_up(config.tokens * token_units, kThreads * config.units));
  return config;
}

void rope(Stream& any_stream, const RopeArgs& args) {
  check(args);
  check_heads("rope", args.x, "x");
  check_heads("rope", args.y, "y");
  const int64_t tokens = args.x.dim(0);
  const int64_t heads = args.x.dim(1);
  const int64_t head_dim = args.x.dim(2);
  const int64_t pairs = args.inv_freq.dim(0);
  const bool in_place = args.x.data == args.y.data && args.x.strides[0] == args.y.strides[0];
  const int access = rotary_access({args.x, args.y}, head_dim, pairs, args.interleaved);
  const RotaryUnits units = rotary_units(head_dim, pairs, args.interleaved, access);
  const int64_t token_units = heads * (units.turning + (in_place ? 0 : units.passing));
  if (tokens * token_units == 0) return;
  CudaStream& stream = cuda_stream(any_stream);
  const RotaryConfig config = choose_rotary(stream.device(), tokens, token_units, pairs);
  KernelSpec spec("rope", "rope");
  spec.type("ELEMENT", args.x.dtype)
      .define("HEADS", heads)
      .define("HEAD_DIM", head_dim)
      .define("PAIRS", pairs)
      .define("INTERLEAVED", args.interleaved ? 1 : 0)
      .define("IN_PLACE", in_place ? 1 : 0)
      .define("ACCESS", access)
      .define("THREADS", RotaryConfig::kThreads)
      .define("TOKENS", config.tokens)
      .define("UNITS", config.units);
  LaunchShape shape;
  shape.grid = {config.grid[0], config.grid[1], 1};
  shape.threads = RotaryConfig::kThreads;
  stream.launch(spec, shape, args.x.data, args.x.strides[0], args.y.data, args.y.strides[0],
                args.positions.data, args.inv_freq.data, to_int32(tokens), args.scale);
}

}  // namespace brayton::cuda
