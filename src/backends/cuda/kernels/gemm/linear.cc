#include "backends/cuda/kernels/gemm/linear.h"

#include "backends/cuda/cuda_stream.h"
#include "backends/cuda/kernels/gemm/gemv.h"
#include "backends/cuda/kernels/gemm/linear_kernels.h"
#include "backends/cuda/kernels/gemm/linear_tuner.h"
#include "backends/cuda/kernels/gemm/skinny.h"
#include "backends/cuda/kernels/vector_rows.h"
#include "backends/cuda/packed_linear.h"
#include "core/check.h"

namespace brayton::cuda {
namespace {

// The most rows of x that a kernel is better at than the next.
constexpr int64_t kGemvRows = 4;
constexpr int64_t kSkinnyRows = 64;
constexpr int64_t kSkinnyRowsHopper = 32;

// False where there is no choice by measurement.
bool linear_tuned(CudaStream& stream, const LinearArgs& args) {
  LinearTuner* const tuner = stream.tuner();
  if (!tuner) return false;
  const LinearKey key = linear_key(args);
  const auto launch = [&](const LinearTactic& tactic) {
    const bool library = tactic.kernel == LinearKernel::kCublasLt;
    launch_linear(stream, args, tactic, library ? tuner->library() : nullptr);
  };
  if (stream.planning()) {
    for (const LinearTactic& tactic : tuner->plan(key, args.x.dim(0))) launch(tactic);
    return true;
  }
  const std::optional<LinearTactic> tactic = tuner->find(key);
  if (tactic) launch(*tactic);
  return tactic.has_value();
}

}  // namespace

LinearKernel choose_linear(const LinearShape& shape, const DeviceInfo& device) {
  const bool half = shape.dtype == DType::kBF16 || shape.dtype == DType::kF16;
  if (!half || !shape.x_aligned || shape.columns % 8 != 0 || shape.columns == 0)
    return LinearKernel::kSimple;
  if (shape.rows <= kGemvRows &&
      choose_gemv({shape.rows, shape.outputs, shape.columns, shape.gated}, device))
    return LinearKernel::kGemv;
  if (shape.rows <= (device.hopper ? kSkinnyRowsHopper : kSkinnyRows) &&
      choose_skinny({shape.rows, shape.outputs, shape.columns, shape.gated}, device))
    return LinearKernel::kSkinny;
  if (device.hopper && shape.y_aligned && shape.outputs % 8 == 0) return LinearKernel::kGemmHopper;
  return LinearKernel::kGemm;
}

void linear(Stream& s, const LinearArgs& args) {
  CudaStream& stream = cuda_stream(s);
  const TensorView& w = packed_weight(args);
  if (args.y.elements() == 0 || linear_tuned(stream, args)) return;
  const LinearShape shape{.dtype = w.dtype,
                          .rows = args.x.dim(0),
                          .outputs = args.y.dim(1),
                          .columns = w.dim(1),
                          .gated = args.gated,
                          .x_aligned = rows_aligned(args.x),
                          .y_aligned = rows_aligned(args.y) && rows_aligned(args.bias)};
  switch (choose_linear(shape, stream.device())) {
    case LinearKernel::kGemv:
      return linear_gemv(stream, args);
    case LinearKernel::kSkinny:
      return linear_skinny(stream, args);
    case LinearKernel::kGemmHopper:
      return linear_gemm_hopper(stream, args);
    case LinearKernel::kGemm:
      return linear_gemm(stream, args);
    case LinearKernel::kSimple:
      return linear_simple(stream, args);
    case LinearKernel::kCublasLt:
      BRAYTON_CHECK(false);
  }
}

}  // namespace brayton::cuda
