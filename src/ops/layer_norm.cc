#include "ops/layer_norm.h"

#include <cmath>
#include <vector>

#include "ops/dim_check.h"
#include "ops/float_element.h"

namespace brayton {

void check(const LayerNormArgs& args) {
  DimCheck("layer_norm")
      .dims(args.x, "x", {"T", "D"})
      .dims_if(args.residual, "residual", {"T", "D"})
      .dims(args.w, "w", {"D"})
      .dims_if(args.b, "b", {"D"})
      .dims_if(args.sum, "sum", {"T", "D"})
      .dims(args.y, "y", {"T", "D"})
      .dtype(args.w, "w", DType::kF32)
      .dtype_if(args.b, "b", DType::kF32)
      .activations(
          {{&args.x, "x"}, {&args.residual, "residual"}, {&args.sum, "sum"}, {&args.y, "y"}})
      .needs(args.sum, "sum", args.residual, "residual");
}

void reference(const LayerNormArgs& args) {
  check(args);
  const int64_t width = args.x.dim(1);
  std::vector<float> s(width);
  for (int64_t t = 0; t < args.x.dim(0); ++t) {
    double total = 0.0;
    for (int64_t i = 0; i < width; ++i) {
      s[i] = load_float(args.x, t, i);
      if (args.residual) s[i] += load_float(args.residual, t, i);
      total += s[i];
    }
    const double mean = total / static_cast<double>(width);
    double squares = 0.0;
    for (float value : s) squares += (value - mean) * (value - mean);
    const double scale = 1.0 / std::sqrt(squares / static_cast<double>(width) + args.eps);
    for (int64_t i = 0; i < width; ++i) {
      const double bias = args.b ? args.b.as<float>()[i] : 0.0f;
      if (args.sum) store_float(args.sum, t, i, s[i]);
      store_float(args.y, t, i,
                  static_cast<float>((s[i] - mean) * scale * args.w.as<float>()[i] + bias));
    }
  }
}

}  // namespace brayton
