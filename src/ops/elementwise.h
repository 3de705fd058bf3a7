// add: y = a + b.   mul: y = a * b.   scale: y = factor * a.   b may be one row [D] for all of a.
#pragma once

#include "brayton/tensor_view.h"

namespace brayton {

enum class BinaryKind { kAdd, kMul };

struct BinaryArgs {
  TensorView a;  // [T, D]; rows may be strided
  TensorView b;  // [T, D] or [D]; rows may be strided
  TensorView y;  // [T, D]; may alias a or b
  BinaryKind kind = BinaryKind::kAdd;
};

struct ScaleArgs {
  TensorView a;  // [T, D]
  TensorView y;  // [T, D]; may alias a
  float factor = 1.0f;
};

void check(const BinaryArgs& args);
void reference(const BinaryArgs& args);
void check(const ScaleArgs& args);
void reference(const ScaleArgs& args);

}  // namespace brayton
