#include "executor/runner.h"

#include <algorithm>

#include "core/check.h"

namespace brayton {

Runner::Runner(Program& program) : program_(program) {
  const ProgramOptions& options = program.options();
  const auto tokens = static_cast<size_t>(options.max_tokens);
  const auto sequences = static_cast<size_t>(options.max_sequences);
  inputs_.token_ids.reserve(tokens);
  inputs_.positions.reserve(tokens);
  inputs_.query_offsets.reserve(sequences + 1);
  inputs_.kv_lengths.reserve(sequences);
  inputs_.slots.reserve(sequences);
  inputs_.logit_rows.reserve(static_cast<size_t>(options.max_logit_rows));
}

void Runner::prepare(const StepPlan& plan) {
  StepInputs& in = inputs_;
  in.clear();
  in.query_offsets.push_back(0);
  size_t columns = 0;
  for (const ScheduledSequence& entry : plan.scheduled) {
    const Sequence& sequence = *entry.sequence;
    const auto begin = sequence.tokens.begin() + sequence.computed;
    in.token_ids.insert(in.token_ids.end(), begin, begin + entry.tokens);
    const int64_t end = sequence.computed + entry.tokens;
    for (int64_t position = sequence.computed; position < end; ++position)
      in.positions.push_back(static_cast<int32_t>(position));
    const auto packed = static_cast<int32_t>(in.tokens());
    in.query_offsets.push_back(packed);
    in.kv_lengths.push_back(static_cast<int32_t>(end));
    in.slots.push_back(static_cast<int32_t>(sequence.slot));
    if (entry.tokens == 1 && in.decodes + 1 == in.sequences()) ++in.decodes;
    for (int64_t row = packed - entry.rows; row < packed; ++row)
      in.logit_rows.push_back(static_cast<int32_t>(row));
    columns = std::max(columns, sequence.blocks.size());
  }
  in.max_blocks = static_cast<int64_t>(columns);
  in.block_table.assign(plan.scheduled.size() * columns, 0);
  for (size_t i = 0; i < plan.scheduled.size(); ++i) {
    const auto& blocks = plan.scheduled[i].sequence->blocks;
    std::copy(blocks.begin(), blocks.end(), in.block_table.begin() + i * columns);
  }
}

TensorView Runner::host_logits() {
  TensorView logits = program_.host_logits();
  if (inputs_.rows() > 0) {
    BRAYTON_CHECK(logits.dtype == DType::kF32 && logits.rank() == 2);
    BRAYTON_CHECK_GE(logits.dim(0), inputs_.rows());
    BRAYTON_CHECK_EQ(logits.dim(1), program_.engine().model.vocab_size);
  }
  return logits;
}

}  // namespace brayton
