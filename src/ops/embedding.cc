#include "ops/embedding.h"

#include <vector>

#include "core/format.h"
#include "ops/dim_check.h"
#include "ops/float_element.h"
#include "ops/quant_blocks.h"

namespace brayton {

void check(const EmbeddingArgs& args) {
  DimCheck("embedding")
      .dims(args.ids, "ids", {"T"})
      .dims(args.table, "table", {"V", "D"})
      .dims(args.y, "y", {"T", "D"})
      .dtype(args.ids, "ids", DType::kI32)
      .weight(args.table, "table")
      .contiguous(args.table, "table")
      .activations({{&args.y, "y"}});
}

void check_contents(const EmbeddingArgs& args) {
  const auto* ids = args.ids.as<int32_t>();
  for (int64_t t = 0; t < args.ids.dim(0); ++t)
    if (ids[t] < 0 || ids[t] >= args.table.dim(0))
      throw_error(ErrorCode::kInvalidArgument, "[embedding] ids[{}] must be in [0, {}), got {}", t,
                  args.table.dim(0), ids[t]);
}

void reference(const EmbeddingArgs& args) {
  check(args);
  check_contents(args);
  const int64_t width = args.table.dim(1);
  std::vector<float> row(width);
  for (int64_t t = 0; t < args.ids.dim(0); ++t) {
    const int32_t id = args.ids.as<int32_t>()[t];
    to_f32(args.table.dtype, args.table.row(id), width, row.data());
    for (int64_t i = 0; i < width; ++i) store_float(args.y, t, i, row[i]);
  }
}

}  // namespace brayton
