// How many bytes a tensor of a file takes, when its shape is one that can be.
#pragma once

#include <algorithm>
#include <optional>

#include "brayton/tensor_view.h"
#include "core/checked_math.h"

namespace brayton {

// Null when a dimension is negative, a row is not whole blocks, or the product of the dimensions
// (zeros aside: strides are such products) overflows.
inline std::optional<int64_t> checked_tensor_bytes(DType dtype, const Shape& shape) {
  const DTypeInfo& info = dtype_info(dtype);
  std::optional<int64_t> bytes = info.block_bytes;
  bool empty = false;
  for (const int64_t dim : shape) {
    if (dim < 0) return std::nullopt;
    empty = empty || dim == 0;
    bytes = checked_mul<int64_t>(*bytes, std::max<int64_t>(dim, 1));
    if (!bytes) return std::nullopt;
  }
  if (info.block_elements > 1 && (shape.rank() == 0 || shape.back() % info.block_elements != 0))
    return std::nullopt;
  return empty ? 0 : *bytes / info.block_elements;
}

}  // namespace brayton
