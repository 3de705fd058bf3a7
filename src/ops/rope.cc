#include "ops/rope.h"

#include <cmath>

#include "ops/dim_check.h"
#include "ops/float_element.h"

namespace brayton {

void check(const RopeArgs& args) {
  DimCheck dims("rope");
  dims.dims(args.x, "x", {"T", "H", "head_dim"})
      .dims(args.positions, "positions", {"T"})
      .dims(args.inv_freq, "inv_freq", {"P"})
      .dims(args.y, "y", {"T", "H", "head_dim"})
      .dtype(args.positions, "positions", DType::kI32)
      .dtype(args.inv_freq, "inv_freq", DType::kF32)
      .activations({{&args.x, "x"}, {&args.y, "y"}})
      .at_most("2 P", 2 * dims["P"], "head_dim", dims["head_dim"]);
}

void reference(const RopeArgs& args) {
  check(args);
  const int64_t pairs = args.inv_freq.dim(0);
  for (int64_t t = 0; t < args.x.dim(0); ++t)
    for (int64_t h = 0; h < args.x.dim(1); ++h) {
      for (int64_t p = 0; p < pairs; ++p) {
        // The angle is rounded to float32, as every implementation of the models' authors does.
        const float angle =
            static_cast<float>(args.positions.as<int32_t>()[t]) * args.inv_freq.as<float>()[p];
        const double c = std::cos(double{angle});
        const double s = std::sin(double{angle});
        const int64_t first = args.interleaved ? 2 * p : p;
        const int64_t second = args.interleaved ? 2 * p + 1 : p + pairs;
        const double a = load_float(args.x, t, h, first);
        const double b = load_float(args.x, t, h, second);
        store_float(args.y, t, h, first, static_cast<float>((a * c - b * s) * args.scale));
        store_float(args.y, t, h, second, static_cast<float>((a * s + b * c) * args.scale));
      }
      for (int64_t i = 2 * pairs; i < args.x.dim(2); ++i)
        store_float(args.y, t, h, i, load_float(args.x, t, h, i));
    }
}

}  // namespace brayton
