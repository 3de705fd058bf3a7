#include "builder/nominal_dtype.h"

namespace brayton {

std::optional<DType> dtype_of_config(const JsonReader& config) {
  for (const char* field : {"dtype", "torch_dtype"}) {
    const auto it = config.json().find(field);
    if (it == config.json().end()) continue;
    if (*it == "float32") return DType::kF32;
    if (*it == "float16") return DType::kF16;
    if (*it == "bfloat16") return DType::kBF16;
  }
  return std::nullopt;
}

DType dtype_of_tensors(const std::map<std::string, TensorView>& tensors) {
  DType dtype = DType::kF32;
  for (const auto& [name, tensor] : tensors) {
    if (tensor.rank() < 2) continue;
    if (tensor.dtype == DType::kBF16) return DType::kBF16;
    if (tensor.dtype == DType::kF16 || is_quantized(tensor.dtype)) dtype = DType::kF16;
  }
  return dtype;
}

}  // namespace brayton
