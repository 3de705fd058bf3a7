// Every element type has one name and the storage that its format defines.
#include "brayton/dtype.h"

#include <gtest/gtest.h>

#include "brayton/error.h"

namespace brayton {
namespace {

struct Row {
  DType dtype;
  const char* name;
  int elements;
  int bytes;
  bool is_float;
};

// Block sizes: the GGUF specification.
constexpr Row kRows[] = {
    {DType::kF32, "f32", 1, 4, true},        {DType::kF16, "f16", 1, 2, true},
    {DType::kBF16, "bf16", 1, 2, true},      {DType::kF64, "f64", 1, 8, true},
    {DType::kI8, "i8", 1, 1, false},         {DType::kI16, "i16", 1, 2, false},
    {DType::kI32, "i32", 1, 4, false},       {DType::kI64, "i64", 1, 8, false},
    {DType::kU8, "u8", 1, 1, false},         {DType::kU16, "u16", 1, 2, false},
    {DType::kU32, "u32", 1, 4, false},       {DType::kU64, "u64", 1, 8, false},
    {DType::kBool, "bool", 1, 1, false},     {DType::kF8E4M3, "f8_e4m3", 1, 1, true},
    {DType::kF8E5M2, "f8_e5m2", 1, 1, true}, {DType::kQ4_0, "q4_0", 32, 18, false},
    {DType::kQ4_1, "q4_1", 32, 20, false},   {DType::kQ5_0, "q5_0", 32, 22, false},
    {DType::kQ5_1, "q5_1", 32, 24, false},   {DType::kQ8_0, "q8_0", 32, 34, false},
    {DType::kQ2_K, "q2_k", 256, 84, false},  {DType::kQ3_K, "q3_k", 256, 110, false},
    {DType::kQ4_K, "q4_k", 256, 144, false}, {DType::kQ5_K, "q5_k", 256, 176, false},
    {DType::kQ6_K, "q6_k", 256, 210, false},
};

TEST(DTypeTest, TableMatchesTheFormats) {
  for (const Row& row : kRows) {
    const DTypeInfo& info = dtype_info(row.dtype);
    EXPECT_EQ(info.name, row.name);
    EXPECT_EQ(info.block_elements, row.elements) << row.name;
    EXPECT_EQ(info.block_bytes, row.bytes) << row.name;
    EXPECT_EQ(is_quantized(row.dtype), row.elements > 1) << row.name;
    EXPECT_EQ(is_float(row.dtype), row.is_float) << row.name;
    EXPECT_EQ(dtype_from_name(row.name), row.dtype);
  }
}

TEST(DTypeTest, EveryNumberIsATypeOfTheTableOrAnError) {
  size_t known = 0;
  for (int number = 0; number < 256; ++number) {
    try {
      dtype_info(static_cast<DType>(number));
      ++known;
    } catch (const Error& error) {
      EXPECT_EQ(std::string(error.what()),
                "[dtype] no type has the number " + std::to_string(number));
    }
  }
  EXPECT_EQ(known, std::size(kRows));
}

TEST(DTypeTest, UnknownNamesAreNoType) {
  for (const char* name : {"", "F32", "q4", "float32"})
    EXPECT_EQ(dtype_from_name(name), std::nullopt);
}

}  // namespace
}  // namespace brayton
