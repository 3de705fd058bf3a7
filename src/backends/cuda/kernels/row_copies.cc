#include "backends/cuda/kernels/row_copies.h"

#include "backends/cuda/kernels/vector_rows.h"

namespace brayton::cuda {
namespace {

void launch(Stream& stream, const TensorView& from, const TensorView& indices,
            const TensorView& y) {
  const int64_t rows = y.dim(0), width = y.dim(1);
  if (rows == 0) return;
  const RowGroups groups = group_rows(rows, width, rows_aligned(from) && rows_aligned(y));
  KernelSpec spec("row_copies", "copy_rows");
  groups.define(spec, width);
  spec.type("SOURCE", from.dtype).type("ELEMENT", y.dtype);
  cuda_stream(stream).launch(spec, groups.shape(), from.data, indices.data, y.data, to_int32(rows),
                             to_int32(from.dim(0)), to_int32(from.strides[0]),
                             to_int32(y.strides[0]));
}

}  // namespace

void embedding(Stream& stream, const EmbeddingArgs& args) {
  check(args);
  if (args.table.dtype != DType::kF32 && args.table.dtype != DType::kF16 &&
      args.table.dtype != DType::kBF16)
    throw_error(ErrorCode::kUnsupported,
                "[embedding] table must be f32, f16 or bf16 on CUDA, got {}",
                dtype_name(args.table.dtype));
  launch(stream, args.table, args.ids, args.y);
}

void gather_rows(Stream& stream, const GatherRowsArgs& args) {
  check(args);
  launch(stream, args.x, args.rows, args.y);
}

}  // namespace brayton::cuda
