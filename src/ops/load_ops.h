// Ops on weights, evaluated once when a model is loaded: views and rearrangements.
#pragma once

#include <vector>

#include "brayton/tensor_view.h"
#include "ops/attributes.h"

namespace brayton {

// The op of a load-time instruction: "concat" {axis}, "slice" {axis, begin, end},
// "reshape" {shape}, "transpose", "add_scalar" {value}, "convert" {dtype}.
// A view where the bytes allow it; otherwise `storage` is filled and the result lies there.
// Block types: any op that keeps rows whole; others throw Error(kUnsupported).
TensorView evaluate_load_op(std::string_view op, const std::vector<TensorView>& inputs,
                            const Attributes& attributes, std::vector<std::byte>& storage);

}  // namespace brayton
