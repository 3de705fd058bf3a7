#include "ops/linear.h"

#include <vector>

#include "ops/dim_check.h"
#include "ops/float_element.h"
#include "ops/quant_blocks.h"

namespace brayton {

void check(const LinearArgs& args) {
  DimCheck dims("linear");
  dims.dims(args.x, "x", {"T", "K"});
  if (args.w || args.packed == nullptr)
    dims.dims(args.w, "w", {"N", "K"}).weight(args.w, "w").contiguous(args.w, "w");
  dims.dims_if(args.bias, "bias", {"N"})
      .dims(args.y, "y", {"T", "N"})
      .dtype_if(args.bias, "bias", DType::kF32)
      .activations({{&args.x, "x"}, {&args.y, "y"}});
}

void reference(const LinearArgs& args) {
  check(args);
  const int64_t width = args.x.dim(1);
  std::vector<float> row(width);
  for (int64_t n = 0; n < args.y.dim(1); ++n) {
    to_f32(args.w.dtype, args.w.row(n), width, row.data());
    for (int64_t t = 0; t < args.x.dim(0); ++t) {
      double sum = args.bias ? args.bias.as<float>()[n] : 0.0f;
      for (int64_t k = 0; k < width; ++k) sum += double{load_float(args.x, t, k)} * row[k];
      store_float(args.y, t, n, static_cast<float>(sum));
    }
  }
}

}  // namespace brayton
