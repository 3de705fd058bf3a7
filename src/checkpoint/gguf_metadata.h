// The values of a GGUF's metadata.
#pragma once

#include <cstdint>
#include <string>

#include "checkpoint/byte_reader.h"
#include "core/json.h"

namespace brayton {

constexpr uint64_t kMaxJsonArray = 1024;  // elements; longer arrays are null in Json

// Where an array's elements lie in the file.
struct GgufArray {
  uint32_t type;
  uint64_t count;
  const std::byte* data;
  size_t bytes;
};

// Reads one value of type number `type`, past its end. `field` names it in messages. Strings become
// valid UTF-8 in Json. When the value is an array, `array` is filled in.
Json read_gguf_value(ByteReader& reader, uint32_t type, const std::string& field, GgufArray& array);

}  // namespace brayton
