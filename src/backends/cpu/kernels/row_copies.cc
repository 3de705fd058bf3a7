// embedding and gather_rows: rows copied (converted, for a table that is not float32). Bound by
// memory, or by to_f32 for block types.
#include "backends/cpu/kernels/kernels.h"
#include "backends/cpu/kernels/rows.h"
#include "ops/quant_blocks.h"

namespace brayton::cpu::BRAYTON_CPU_LEVEL {

void embedding(Stream& stream, const EmbeddingArgs& args) {
  check(args);
  check_contents(args);
  const int64_t width = args.y.dim(1);
  for_rows(stream, args.y.dim(0), 8 * width, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      to_f32(args.table.dtype, args.table.row(args.ids.as<int32_t>()[t]), width,
             args.y.as<float>() + t * args.y.strides[0]);
  });
}

void gather_rows(Stream& stream, const GatherRowsArgs& args) {
  check(args);
  check_contents(args);
  const int64_t width = args.y.dim(1);
  for_rows(stream, args.y.dim(0), 2 * width, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      __builtin_memcpy(args.y.as<float>() + r * args.y.strides[0],
                       args.x.as<float>() + args.rows.as<int32_t>()[r] * args.x.strides[0],
                       static_cast<size_t>(width) * sizeof(float));
  });
}

}  // namespace brayton::cpu::BRAYTON_CPU_LEVEL
