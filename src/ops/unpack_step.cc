#include "ops/unpack_step.h"

#include <algorithm>

namespace brayton {

void reference(const UnpackStepArgs& args) {
  const auto* in = args.packed.as<int32_t>();
  const int64_t tokens = in[0], sequences = in[1], rows = in[2], columns = in[3];
  in += 4;
  const auto take = [&](const TensorView& to, int64_t count) {
    std::copy_n(in, count, to.as<int32_t>());
    in += count;
  };
  take(args.token_ids, tokens);
  take(args.positions, tokens);
  take(args.logit_rows, rows);
  take(args.query_offsets, sequences + 1);
  take(args.kv_lengths, sequences);
  take(args.slots, sequences);
  for (int64_t s = 0; s < sequences; ++s, in += columns)
    std::copy_n(in, columns, args.block_table.row_as<int32_t>(s));
  for (int64_t t = 0; t < tokens; ++t) {
    int32_t& id = args.token_ids.as<int32_t>()[t];
    if (id < 0) id = args.sampled.as<int32_t>()[-id - 1];
  }
  for (int64_t t = tokens; t < args.tokens; ++t)
    args.token_ids.as<int32_t>()[t] = args.positions.as<int32_t>()[t] = 0;
  for (int64_t s = sequences; s < args.sequences; ++s) {
    args.query_offsets.as<int32_t>()[s + 1] = args.query_offsets.as<int32_t>()[s] + 1;
    args.kv_lengths.as<int32_t>()[s] = 1;
    args.slots.as<int32_t>()[s] = -1;
    args.block_table.row_as<int32_t>(s)[0] = args.scratch_block;
  }
  for (int64_t r = rows; r < args.rows; ++r) args.logit_rows.as<int32_t>()[r] = 0;
}

}  // namespace brayton
