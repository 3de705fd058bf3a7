#include "checkpoint/gguf_types.h"

namespace brayton {
namespace {

struct TensorType {
  uint32_t number;
  std::string_view name;
  std::optional<DType> dtype;
};

constexpr TensorType kTensorTypes[] = {
    {0, "f32", DType::kF32},    {1, "f16", DType::kF16},
    {2, "q4_0", DType::kQ4_0},  {3, "q4_1", DType::kQ4_1},
    {6, "q5_0", DType::kQ5_0},  {7, "q5_1", DType::kQ5_1},
    {8, "q8_0", DType::kQ8_0},  {9, "q8_1", {}},
    {10, "q2_k", DType::kQ2_K}, {11, "q3_k", DType::kQ3_K},
    {12, "q4_k", DType::kQ4_K}, {13, "q5_k", DType::kQ5_K},
    {14, "q6_k", DType::kQ6_K}, {15, "q8_k", {}},
    {16, "iq2_xxs", {}},        {17, "iq2_xs", {}},
    {18, "iq3_xxs", {}},        {19, "iq1_s", {}},
    {20, "iq4_nl", {}},         {21, "iq3_s", {}},
    {22, "iq2_s", {}},          {23, "iq4_xs", {}},
    {24, "i8", DType::kI8},     {25, "i16", DType::kI16},
    {26, "i32", DType::kI32},   {27, "i64", DType::kI64},
    {28, "f64", DType::kF64},   {29, "iq1_m", {}},
    {30, "bf16", DType::kBF16}, {34, "tq1_0", {}},
    {35, "tq2_0", {}},          {39, "mxfp4", {}},
};

}  // namespace

std::optional<DType> gguf_tensor_dtype(uint32_t type) {
  for (const TensorType& row : kTensorTypes)
    if (row.number == type) return row.dtype;
  return std::nullopt;
}

std::string_view gguf_tensor_type_name(uint32_t type) {
  for (const TensorType& row : kTensorTypes)
    if (row.number == type) return row.name;
  return "unknown";
}

}  // namespace brayton
