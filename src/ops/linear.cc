#include "ops/linear.h"

#include <vector>

#include "core/format.h"
#include "ops/dim_check.h"
#include "ops/float_element.h"
#include "ops/quant_blocks.h"

namespace brayton {

void check(const LinearArgs& args) {
  DimCheck dims("linear");
  dims.dims(args.x, "x", {"T", "K"});
  if (args.w || args.packed == nullptr)
    dims.dims(args.w, "w", {"N", "K"}).weight(args.w, "w").contiguous(args.w, "w");
  if (args.gated)
    dims.dims(args.y, "y", {"T", "F"}).dims_if(args.bias, "bias", {"2F"});
  else
    dims.dims_if(args.bias, "bias", {"N"}).dims(args.y, "y", {"T", "N"});
  dims.dtype_if(args.bias, "bias", DType::kF32).activations({{&args.x, "x"}, {&args.y, "y"}});
  if (!args.gated) return;
  if (args.w && args.w.dim(0) != 2 * args.y.dim(1))
    throw_error(ErrorCode::kInvalidArgument, "[linear] w.N must be 2F {}, got {}",
                2 * args.y.dim(1), args.w.dim(0));
  if (!args.activation)
    throw_error(ErrorCode::kInvalidArgument, "[linear] activation must be given when gated");
}

void reference(const LinearArgs& args) {
  check(args);
  const int64_t width = args.x.dim(1);
  const int64_t results = args.y.dim(1);
  std::vector<float> rows[2] = {std::vector<float>(width), std::vector<float>(width)};
  for (int64_t n = 0; n < results; ++n) {
    for (int half = 0; half < (args.gated ? 2 : 1); ++half)
      to_f32(args.w.dtype, args.w.row(n + half * results), width, rows[half].data());
    for (int64_t t = 0; t < args.x.dim(0); ++t) {
      const auto dot = [&](int half) {
        double sum = args.bias ? args.bias.as<float>()[n + half * results] : 0.0f;
        for (int64_t k = 0; k < width; ++k) sum += double{load_float(args.x, t, k)} * rows[half][k];
        return sum;
      };
      double y = dot(0);
      if (args.activation) y = activate(*args.activation, y);
      if (args.gated) y *= dot(1);
      store_float(args.y, t, n, static_cast<float>(y));
    }
  }
}

}  // namespace brayton
