#include "ops/rms_norm.h"

#include <cmath>
#include <vector>

#include "ops/dim_check.h"
#include "ops/float_element.h"

namespace brayton {

void check(const RmsNormArgs& args) {
  DimCheck("rms_norm")
      .dims(args.x, "x", {"T", "D"})
      .dims_if(args.residual, "residual", {"T", "D"})
      .dims(args.w, "w", {"D"})
      .dims_if(args.sum, "sum", {"T", "D"})
      .dims(args.y, "y", {"T", "D"})
      .dtype(args.w, "w", DType::kF32)
      .activations(
          {{&args.x, "x"}, {&args.residual, "residual"}, {&args.sum, "sum"}, {&args.y, "y"}})
      .needs(args.sum, "sum", args.residual, "residual");
}

void reference(const RmsNormArgs& args) {
  check(args);
  const int64_t width = args.x.dim(1);
  std::vector<float> s(width);
  for (int64_t t = 0; t < args.x.dim(0); ++t) {
    double squares = 0.0;
    for (int64_t i = 0; i < width; ++i) {
      s[i] = load_float(args.x, t, i);
      if (args.residual) s[i] += load_float(args.residual, t, i);
      squares += double{s[i]} * s[i];
    }
    const double scale = 1.0 / std::sqrt(squares / static_cast<double>(width) + args.eps);
    for (int64_t i = 0; i < width; ++i) {
      if (args.sum) store_float(args.sum, t, i, s[i]);
      store_float(args.y, t, i, static_cast<float>(s[i] * scale * args.w.as<float>()[i]));
    }
  }
}

}  // namespace brayton
