// Small valid files of each format, and where their fields lie: what tests open and damage.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "testing/mutate.h"

namespace brayton::testing {

// A safetensors file of `header`, its length before it, and `data_bytes` of data that count up.
inline Bytes safetensors_file(std::string_view header, size_t data_bytes) {
  const uint64_t length = header.size();
  Bytes bytes(sizeof(length) + header.size() + data_bytes);
  std::memcpy(bytes.data(), &length, sizeof(length));
  std::memcpy(bytes.data() + sizeof(length), header.data(), header.size());
  for (size_t i = 0; i < data_bytes; ++i)
    bytes[sizeof(length) + header.size() + i] = static_cast<std::byte>(i);
  return bytes;
}

// Writes a GGUF value by value and remembers where each number lies.
class GgufWriter {
 public:
  struct Field {
    size_t offset;
    size_t width;
  };

  GgufWriter(uint32_t version, uint64_t tensors, uint64_t values) {
    text("GGUF");
    number(version);
    number(tensors);
    number(values);
  }

  const Bytes& bytes() const { return bytes_; }
  const std::vector<Field>& fields() const { return fields_; }

  GgufWriter& text(std::string_view raw) {
    const auto bytes = as_bytes(raw);
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  GgufWriter& string(std::string_view value) {
    number(uint64_t{value.size()});
    return text(value);
  }
  template <class T>
  GgufWriter& number(T value) {
    fields_.push_back({bytes_.size(), sizeof(T)});
    bytes_.resize(bytes_.size() + sizeof(T));
    std::memcpy(bytes_.data() + fields_.back().offset, &value, sizeof(T));
    return *this;
  }
  GgufWriter& key(std::string_view name, uint32_t type) { return string(name).number(type); }
  template <class T>
  GgufWriter& array(std::string_view name, uint32_t type, const std::vector<T>& values) {
    key(name, 9).number(type).number(uint64_t{values.size()});
    for (const T& value : values) {
      if constexpr (std::is_arithmetic_v<T>)
        number(value);
      else
        string(value);
    }
    return *this;
  }
  GgufWriter& tensor(std::string_view name, const std::vector<uint64_t>& innermost_first,
                     uint32_t type, uint64_t offset) {
    string(name).number(static_cast<uint32_t>(innermost_first.size()));
    for (const uint64_t dim : innermost_first) number(dim);
    return number(type).number(offset);
  }
  // Zeros to the alignment, then `size` bytes that count up.
  GgufWriter& data(size_t alignment, size_t size) {
    bytes_.resize((bytes_.size() + alignment - 1) / alignment * alignment);
    for (size_t i = 0; i < size; ++i) bytes_.push_back(static_cast<std::byte>(i));
    return *this;
  }

 private:
  Bytes bytes_;
  std::vector<Field> fields_;
};

}  // namespace brayton::testing
