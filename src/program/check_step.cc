#include "program/check_step.h"

#include <algorithm>

#include "core/checked_math.h"
#include "core/format.h"

namespace brayton {

void check_step(const StepInputs& in, const Engine& engine, const ProgramOptions& options) {
  const auto within = [](const char* name, int64_t got, int64_t low, int64_t high) {
    if (got < low || got > high)
      throw_error(ErrorCode::kInvalidArgument, "[step] {} must be in [{}, {}], got {}", name, low,
                  high, got);
  };
  within("tokens", in.tokens(), 1, options.max_tokens);
  within("sequences", in.sequences(), 1, options.max_sequences);
  within("logit rows", in.rows(), 0, options.max_logit_rows);
  within("positions", static_cast<int64_t>(in.positions.size()), in.tokens(), in.tokens());
  within("query offsets", static_cast<int64_t>(in.query_offsets.size()), in.sequences() + 1,
         in.sequences() + 1);
  within("max_blocks", in.max_blocks, 1, options.kv_blocks);
  within("block table entries", static_cast<int64_t>(in.block_table.size()),
         in.sequences() * in.max_blocks, in.sequences() * in.max_blocks);
  within("first query offset", in.query_offsets.front(), 0, 0);
  within("last query offset", in.query_offsets.back(), in.tokens(), in.tokens());
  for (int64_t s = 0; s < in.sequences(); ++s) {
    const int64_t tokens = in.query_offsets[s + 1] - in.query_offsets[s];
    within("tokens of a sequence", tokens, 1, in.tokens());
    within("kv length", in.kv_lengths[s], tokens, in.max_blocks * options.kv_block_size);
    const int64_t used = ceil_div(in.kv_lengths[s], options.kv_block_size);
    for (int64_t b = 0; b < used; ++b)
      within("block", in.block_table[s * in.max_blocks + b], 0, options.kv_blocks - 1);
    const int64_t first = in.kv_lengths[s] - tokens;
    for (int64_t t = 0; t < tokens; ++t)
      within("position", in.positions[in.query_offsets[s] + t], first + t, first + t);
  }
  within("last position", *std::max_element(in.kv_lengths.begin(), in.kv_lengths.end()), 1,
         engine.model.max_positions);
  for (int32_t id : in.token_ids) {
    if (id < 0)  // a slot's last token
      within("slot of a token", -1 - int64_t{id}, 0, options.max_sequences - 1);
    else
      within("token id", id, 0, engine.model.vocab_size - 1);
  }
  for (int32_t row : in.logit_rows) within("logit row", row, 0, in.tokens() - 1);
}

}  // namespace brayton
