#include "backends/cuda/packed_linear.h"

#include "core/format.h"

namespace brayton::cuda {

const TensorView& packed_weight(const LinearArgs& args) {
  check(args);
  if (!args.packed)
    throw_error(ErrorCode::kInvalidArgument, "[linear] w must be packed on CUDA, got {} {}",
                dtype_name(args.w.dtype), args.w.shape.str());
  const TensorView& w = static_cast<const PackedLinear&>(*args.packed).view();
  if (args.x.dim(1) != w.dim(1) || args.y.dim(1) * (args.gated ? 2 : 1) != w.dim(0))
    throw_error(ErrorCode::kInvalidArgument, "[linear] packed w is [{}, {}]{}, got x {} and y {}",
                w.dim(0), w.dim(1), args.gated ? ", gated" : "", args.x.shape.str(),
                args.y.shape.str());
  if (args.x.dtype != w.dtype)
    throw_error(ErrorCode::kInvalidArgument, "[linear] x must be {} as the packed w, got {}",
                dtype_name(w.dtype), dtype_name(args.x.dtype));
  return w;
}

}  // namespace brayton::cuda
