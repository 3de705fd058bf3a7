// The activation type that a checkpoint asks for.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "brayton/tensor_view.h"
#include "core/json.h"

namespace brayton {

// What config.json says ("dtype" or "torch_dtype"), if it is f32, f16 or bf16.
std::optional<DType> dtype_of_config(const JsonReader& config);

// By the matrices: bf16 when one of them is, f16 when one of them is or is quantised, else f32.
DType dtype_of_tensors(const std::map<std::string, TensorView>& tensors);

}  // namespace brayton
