#include "program/step.h"

namespace brayton {

void StepInputs::clear() {
  token_ids.clear();
  positions.clear();
  query_offsets.clear();
  kv_lengths.clear();
  slots.clear();
  block_table.clear();
  logit_rows.clear();
  max_blocks = 0;
  decodes = 0;
}

}  // namespace brayton
