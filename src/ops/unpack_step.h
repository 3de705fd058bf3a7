// unpack_step: the one copy that brings a step's inputs to the device -> the arrays that kernels
// read, padded to the size that a captured step has. packed = {T, S, R, columns}, then token_ids
// [T], positions [T], logit_rows [R], query_offsets [S + 1], kv_lengths [S], slots [S], block_table
// [S, columns], all i32. A token id below 0 stands for sampled[-id - 1]: the token that a slot drew
// in the step before. Padding sequences have one token each, at the rows behind T: token 0,
// position 0, kv length 1, slot -1, the scratch block; padding logit rows name row 0.
#pragma once

#include "brayton/tensor_view.h"

namespace brayton {

struct UnpackStepArgs {
  TensorView packed;         // [*] i32
  TensorView sampled;        // [slots] i32 or empty
  TensorView token_ids;      // [max_tokens] i32
  TensorView positions;      // [max_tokens] i32
  TensorView logit_rows;     // [max_rows] i32
  TensorView query_offsets;  // [max_sequences + 1] i32
  TensorView kv_lengths;     // [max_sequences] i32
  TensorView slots;          // [max_sequences] i32
  TensorView block_table;    // [max_sequences, max_blocks] i32
  int64_t tokens = 0;        // with padding; T + tokens' padding = S + sequences' padding
  int64_t sequences = 0;     // with padding
  int64_t rows = 0;          // with padding
  int32_t scratch_block = 0;
};

void reference(const UnpackStepArgs& args);

}  // namespace brayton
