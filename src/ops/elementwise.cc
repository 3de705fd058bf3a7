#include "ops/elementwise.h"

#include "ops/dim_check.h"
#include "ops/float_element.h"

namespace brayton {

void check(const BinaryArgs& args) {
  DimCheck dims(args.kind == BinaryKind::kAdd ? "add" : "mul");
  dims.dims(args.a, "a", {"T", "D"});
  if (args.b.rank() == 1)
    dims.dims(args.b, "b", {"D"});
  else
    dims.dims(args.b, "b", {"T", "D"});
  dims.dims(args.y, "y", {"T", "D"}).activations({{&args.a, "a"}, {&args.y, "y"}});
  // One row may be a weight, which stays float32 whatever the activations are.
  if (args.b.rank() == 1 && args.b.dtype == DType::kF32) return;
  dims.activations({{&args.a, "a"}, {&args.b, "b"}});
}

void reference(const BinaryArgs& args) {
  check(args);
  for (int64_t t = 0; t < args.a.dim(0); ++t)
    for (int64_t i = 0; i < args.a.dim(1); ++i) {
      const float a = load_float(args.a, t, i);
      const float b =
          args.b.rank() == 1 ? load_float(args.b.dtype, args.b.data, i) : load_float(args.b, t, i);
      store_float(args.y, t, i, args.kind == BinaryKind::kAdd ? a + b : a * b);
    }
}

void check(const ScaleArgs& args) {
  DimCheck("scale")
      .dims(args.a, "a", {"T", "D"})
      .dims(args.y, "y", {"T", "D"})
      .activations({{&args.a, "a"}, {&args.y, "y"}});
}

void reference(const ScaleArgs& args) {
  check(args);
  for (int64_t t = 0; t < args.a.dim(0); ++t)
    for (int64_t i = 0; i < args.a.dim(1); ++i)
      store_float(args.y, t, i, args.factor * load_float(args.a, t, i));
}

}  // namespace brayton
