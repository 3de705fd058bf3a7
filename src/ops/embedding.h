// embedding: y[t, :] = table[ids[t], :]
#pragma once

#include "brayton/tensor_view.h"

namespace brayton {

struct EmbeddingArgs {
  TensorView ids;    // [T] i32, each in [0, V)
  TensorView table;  // [V, D] as in the checkpoint, any float or block type
  TensorView y;      // [T, D]
};

void check(const EmbeddingArgs& args);
void check_contents(const EmbeddingArgs& args);  // ids that the host can read: their range
void reference(const EmbeddingArgs& args);

}  // namespace brayton
