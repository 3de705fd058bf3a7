// gather_rows: y[r, :] = x[rows[r], :]
#pragma once

#include "brayton/tensor_view.h"

namespace brayton {

struct GatherRowsArgs {
  TensorView x;     // [T, D]
  TensorView rows;  // [R] i32, each in [0, T)
  TensorView y;     // [R, D]
};

void check(const GatherRowsArgs& args);
void check_contents(const GatherRowsArgs& args);  // rows that the host can read: their range
void reference(const GatherRowsArgs& args);

}  // namespace brayton
