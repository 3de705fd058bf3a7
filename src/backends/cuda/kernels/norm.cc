#include "backends/cuda/kernels/norm.h"

#include <algorithm>

#include "backends/cuda/kernels/vector_rows.h"

namespace brayton::cuda {
namespace {

constexpr int64_t kMaxThreads = 1024;
constexpr int64_t kMaxVectors = 2;        // of a row in a thread's registers
constexpr int64_t kThreadsAtOnce = 1024;  // on a multiprocessor: 64 registers each

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

struct Norm {
  const TensorView &x, &residual, &w, &b, &sum, &y;
  float eps;
  bool layer;
};

void launch(Stream& any_stream, const Norm& norm) {
  const int64_t rows = norm.x.dim(0);
  if (rows == 0) return;
  CudaStream& stream = cuda_stream(any_stream);
  const bool aligned = rows_aligned(norm.x) && rows_aligned(norm.residual) &&
                       rows_aligned(norm.w) && rows_aligned(norm.b) && rows_aligned(norm.sum) &&
                       rows_aligned(norm.y);
  const NormConfig config =
      choose_norm(norm.x.dtype, norm.x.dim(1), static_cast<bool>(norm.b), aligned);
  KernelSpec spec("norm", "norm_rows");
  spec.type("ELEMENT", norm.x.dtype)
      .define("WIDTH", norm.x.dim(1))
      .define("THREADS", config.threads)
      .define("VECTORS", config.vectors)
      .define("BLOCKS", config.blocks)
      .define("RESIDUAL", norm.residual ? 1 : 0)
      .define("SUM", norm.sum ? 1 : 0)
      .define("BIAS", norm.b ? 1 : 0)
      .define("LAYER", norm.layer ? 1 : 0);
  const int64_t blocks = int64_t{stream.device().multiprocessors} * config.blocks;
  LaunchShape shape;
  shape.grid[0] = static_cast<unsigned>(std::min(rows, blocks));
  shape.threads = static_cast<unsigned>(config.threads);
  stream.launch(spec, shape, norm.x.data, norm.residual.data, norm.w.data, norm.b.data,
                norm.sum.data, norm.y.data, to_int32(rows), to_int32(norm.x.strides[0]),
                to_int32(norm.residual.strides[0]), to_int32(norm.sum.strides[0]),
                to_int32(norm.y.strides[0]), norm.eps);
}

}  // namespace

NormConfig choose_norm(DType dtype, int64_t width, bool bias, bool aligned) {
  const int64_t per_vector = 16 / dtype_info(dtype).block_bytes;
  const int64_t in_row = divide_up(width, per_vector);
  // One vector a thread makes a row's latency short; two leave room for a second block. With a bias
  // in registers too, there is room for one only.
  int64_t vectors = in_row <= (bias ? kMaxThreads : kMaxThreads / 2) ? 1 : 2;
  int64_t threads = divide_up(in_row, vectors);
  if (!aligned || width % per_vector != 0 || threads > kMaxThreads) {
    vectors = 0;
    threads = std::min(divide_up(width, 4), kMaxThreads);
  }
  threads = divide_up(threads, 32) * 32;
  return {.threads = static_cast<int>(threads),
          .vectors = static_cast<int>(vectors),
          .blocks = static_cast<int>(std::clamp<int64_t>(kThreadsAtOnce / threads, 1, 16))};
}

void rms_norm(Stream& stream, const RmsNormArgs& args) {
  check(args);
  const TensorView none;
  launch(stream, {.x = args.x,
                  .residual = args.residual,
                  .w = args.w,
                  .b = none,
                  .sum = args.sum,
                  .y = args.y,
                  .eps = args.eps,
                  .layer = false});
}

void layer_norm(Stream& stream, const LayerNormArgs& args) {
  check(args);
  launch(stream, {.x = args.x,
                  .residual = args.residual,
                  .w = args.w,
                  .b = args.b,
                  .sum = args.sum,
                  .y = args.y,
                  .eps = args.eps,
                  .layer = true});
}

}  // namespace brayton::cuda
