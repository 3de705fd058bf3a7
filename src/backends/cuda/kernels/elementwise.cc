#include "backends/cuda/kernels/elementwise.h"

#include "backends/cuda/kernels/vector_rows.h"

namespace brayton::cuda {

static_assert(static_cast<int>(BinaryKind::kAdd) == 0 && static_cast<int>(BinaryKind::kMul) == 1);

void binary(Stream& stream, const BinaryArgs& args) {
  check(args);
  const int64_t rows = args.y.dim(0), width = args.y.dim(1);
  if (rows == 0) return;
  const RowGroups groups =
      group_rows(rows, width, rows_aligned(args.a) && rows_aligned(args.b) && rows_aligned(args.y));
  KernelSpec spec("elementwise", "binary_rows");
  groups.define(spec, width);
  spec.type("ELEMENT", args.y.dtype)
      .type("SECOND", args.b.dtype)
      .define("KIND", static_cast<int>(args.kind));
  const int64_t b_stride = args.b.rank() == 1 ? 0 : args.b.strides[0];
  cuda_stream(stream).launch(spec, groups.shape(), args.a.data, args.b.data, args.y.data,
                             to_int32(rows), to_int32(args.a.strides[0]), to_int32(b_stride),
                             to_int32(args.y.strides[0]));
}

void scale(Stream& stream, const ScaleArgs& args) {
  check(args);
  const int64_t rows = args.y.dim(0), width = args.y.dim(1);
  if (rows == 0) return;
  const RowGroups groups = group_rows(rows, width, rows_aligned(args.a) && rows_aligned(args.y));
  KernelSpec spec("elementwise", "scale_rows");
  groups.define(spec, width);
  spec.type("ELEMENT", args.y.dtype);
  cuda_stream(stream).launch(spec, groups.shape(), args.a.data, args.y.data, to_int32(rows),
                             to_int32(args.a.strides[0]), to_int32(args.y.strides[0]), args.factor);
}

}  // namespace brayton::cuda
