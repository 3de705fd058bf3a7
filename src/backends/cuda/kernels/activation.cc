#include "backends/cuda/kernels/activation.h"

#include "backends/cuda/kernels/vector_rows.h"

namespace brayton::cuda {
namespace {

// device/activation.cuh has the same numbers.
static_assert(static_cast<int>(ActivationKind::kSilu) == 0 &&
              static_cast<int>(ActivationKind::kGelu) == 1 &&
              static_cast<int>(ActivationKind::kGeluTanh) == 2 &&
              static_cast<int>(ActivationKind::kRelu) == 3);

void launch(Stream& stream, const TensorView& x, const TensorView& y, ActivationKind kind,
            bool gated) {
  const int64_t rows = y.dim(0), width = y.dim(1);
  if (rows == 0) return;
  const RowGroups groups = group_rows(rows, width, rows_aligned(x) && rows_aligned(y));
  KernelSpec spec("activation", "activate_rows");
  groups.define(spec, width);
  spec.type("ELEMENT", y.dtype)
      .define("KIND", static_cast<int>(kind))
      .define("GATED", gated ? 1 : 0);
  cuda_stream(stream).launch(spec, groups.shape(), x.data, y.data, to_int32(rows),
                             to_int32(x.strides[0]), to_int32(y.strides[0]));
}

}  // namespace

void activation(Stream& stream, const ActivationArgs& args) {
  check(args);
  launch(stream, args.x, args.y, args.kind, false);
}

void gated_activation(Stream& stream, const GatedActivationArgs& args) {
  check(args);
  launch(stream, args.x, args.y, args.kind, true);
}

}  // namespace brayton::cuda
