// The JSON header of a safetensors file: what it says of each tensor, not yet checked against data.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "brayton/dtype.h"
#include "brayton/tensor_view.h"

namespace brayton {

struct SafetensorsEntry {
  std::string name;
  DType dtype;
  Shape shape;
  uint64_t begin;  // bytes from the start of the data
  uint64_t end;
};

// In the order of the header. Throws Error "[path] tensor 'x' field 'shape' must be ...".
std::vector<SafetensorsEntry> read_safetensors_header(std::string_view header,
                                                      const std::string& path);

}  // namespace brayton
