#include "brayton/dtype.h"

#include <array>
#include <utility>

#include "core/check.h"

namespace brayton {
namespace {

// Block layouts: ggml's, as the GGUF specification fixes them.
constexpr std::pair<DType, DTypeInfo> kTypes[] = {
    {DType::kF32, {"f32", 1, 4}},        {DType::kF16, {"f16", 1, 2}},
    {DType::kBF16, {"bf16", 1, 2}},      {DType::kF64, {"f64", 1, 8}},
    {DType::kI8, {"i8", 1, 1}},          {DType::kI16, {"i16", 1, 2}},
    {DType::kI32, {"i32", 1, 4}},        {DType::kI64, {"i64", 1, 8}},
    {DType::kU8, {"u8", 1, 1}},          {DType::kU16, {"u16", 1, 2}},
    {DType::kU32, {"u32", 1, 4}},        {DType::kU64, {"u64", 1, 8}},
    {DType::kBool, {"bool", 1, 1}},      {DType::kF8E4M3, {"f8_e4m3", 1, 1}},
    {DType::kF8E5M2, {"f8_e5m2", 1, 1}}, {DType::kQ4_0, {"q4_0", 32, 18}},
    {DType::kQ4_1, {"q4_1", 32, 20}},    {DType::kQ5_0, {"q5_0", 32, 22}},
    {DType::kQ5_1, {"q5_1", 32, 24}},    {DType::kQ8_0, {"q8_0", 32, 34}},
    {DType::kQ2_K, {"q2_k", 256, 84}},   {DType::kQ3_K, {"q3_k", 256, 110}},
    {DType::kQ4_K, {"q4_k", 256, 144}},  {DType::kQ5_K, {"q5_k", 256, 176}},
    {DType::kQ6_K, {"q6_k", 256, 210}},
};

// By number, with block_elements 0 where there is no type.
constexpr auto kByNumber = [] {
  std::array<DTypeInfo, static_cast<size_t>(DType::kQ6_K) + 1> table{};
  for (const auto& [type, info] : kTypes) table[static_cast<size_t>(type)] = info;
  return table;
}();

}  // namespace

const DTypeInfo& dtype_info(DType dtype) {
  const auto number = static_cast<size_t>(dtype);
  if (number < kByNumber.size() && kByNumber[number].block_elements > 0) return kByNumber[number];
  throw_error(ErrorCode::kInternal, "[dtype] no type has the number {}", static_cast<int>(dtype));
}

std::optional<DType> dtype_from_name(std::string_view name) {
  for (const auto& [type, info] : kTypes)
    if (info.name == name) return type;
  return std::nullopt;
}

bool is_quantized(DType dtype) { return dtype_info(dtype).block_elements > 1; }

bool is_float(DType dtype) {
  switch (dtype) {
    case DType::kF64:
    case DType::kF32:
    case DType::kF16:
    case DType::kBF16:
    case DType::kF8E4M3:
    case DType::kF8E5M2:
      return true;
    default:
      return false;
  }
}

}  // namespace brayton
