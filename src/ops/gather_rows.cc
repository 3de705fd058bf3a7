#include "ops/gather_rows.h"

#include "core/format.h"
#include "ops/dim_check.h"
#include "ops/float_element.h"

namespace brayton {

void check(const GatherRowsArgs& args) {
  DimCheck("gather_rows")
      .dims(args.x, "x", {"T", "D"})
      .dims(args.rows, "rows", {"R"})
      .dims(args.y, "y", {"R", "D"})
      .dtype(args.rows, "rows", DType::kI32)
      .activations({{&args.x, "x"}, {&args.y, "y"}});
}

void check_contents(const GatherRowsArgs& args) {
  const auto* rows = args.rows.as<int32_t>();
  for (int64_t r = 0; r < args.rows.dim(0); ++r)
    if (rows[r] < 0 || rows[r] >= args.x.dim(0))
      throw_error(ErrorCode::kInvalidArgument, "[gather_rows] rows[{}] must be in [0, {}), got {}",
                  r, args.x.dim(0), rows[r]);
}

void reference(const GatherRowsArgs& args) {
  check(args);
  check_contents(args);
  for (int64_t r = 0; r < args.rows.dim(0); ++r) {
    const int32_t row = args.rows.as<int32_t>()[r];
    for (int64_t i = 0; i < args.x.dim(1); ++i)
      store_float(args.y, r, i, load_float(args.x, row, i));
  }
}

}  // namespace brayton
