// The type numbers of GGUF. Source: github.com/ggml-org/ggml, docs/gguf.md and include/ggml.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string_view>

#include "brayton/dtype.h"

namespace brayton {

enum class GgufType : uint32_t {  // of metadata values
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

// Bytes of a value of fixed size; 0 for strings, arrays and numbers that are no type.
constexpr size_t gguf_value_bytes(uint32_t type) {
  constexpr size_t kBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return type < std::size(kBytes) ? kBytes[type] : 0;
}

// Of a tensor's type number; null for those that cannot be read.
std::optional<DType> gguf_tensor_dtype(uint32_t type);
// What ggml calls the type: "iq4_xs"; "unknown" beyond its list.
std::string_view gguf_tensor_type_name(uint32_t type);

}  // namespace brayton
