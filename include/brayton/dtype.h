// Element types of tensors, plain and block-quantised.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace brayton {

// Plain types first, then the GGUF block formats, whose elements are stored in blocks along the
// last dimension. Values are written into engine files: append only.
enum class DType : uint8_t {
  kF32 = 0,
  kF16 = 1,
  kBF16 = 2,
  kF64 = 3,
  kI8 = 4,
  kI16 = 5,
  kI32 = 6,
  kI64 = 7,
  kU8 = 8,
  kU16 = 9,
  kU32 = 10,
  kU64 = 11,
  kBool = 12,
  kF8E4M3 = 13,
  kF8E5M2 = 14,
  kQ4_0 = 32,
  kQ4_1 = 33,
  kQ5_0 = 34,
  kQ5_1 = 35,
  kQ8_0 = 36,
  kQ2_K = 37,
  kQ3_K = 38,
  kQ4_K = 39,
  kQ5_K = 40,
  kQ6_K = 41,
};

// How a type is stored: `block_elements` consecutive elements of a row take `block_bytes` bytes.
// Plain types have blocks of one element.
struct DTypeInfo {
  std::string_view name;  // as the text form of a graph prints it: "f32", "bf16", "q4_1", ...
  int block_elements;
  int block_bytes;
};

const DTypeInfo& dtype_info(DType dtype);
inline std::string_view dtype_name(DType dtype) { return dtype_info(dtype).name; }
std::optional<DType> dtype_from_name(std::string_view name);
bool is_quantized(DType dtype);  // one of the block formats
bool is_float(DType dtype);      // f64, f32, f16, bf16, f8

}  // namespace brayton
