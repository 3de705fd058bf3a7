// Little-endian values from a mapped file, one after the other, never past its end.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "core/format.h"

namespace brayton {

class ByteReader {
 public:
  // `path` must outlive the reader.
  ByteReader(std::span<const std::byte> bytes, const std::string& path)
      : bytes_(bytes), path_(&path) {}

  const std::string& path() const { return *path_; }
  size_t offset() const { return at_; }
  size_t remaining() const { return bytes_.size() - at_; }
  const std::byte* here() const { return bytes_.data() + at_; }

  // `field` names what is read: "field 'version'".
  void skip(uint64_t count, std::string_view field) {
    if (count > remaining()) truncated(field, count);
    at_ += count;
  }
  template <class T>
  T read(std::string_view field) {
    if (sizeof(T) > remaining()) truncated(field, sizeof(T));
    T value;
    std::memcpy(&value, here(), sizeof(T));
    at_ += sizeof(T);
    return value;
  }
  // u64 length, then that many bytes.
  std::string_view read_string(std::string_view field) {
    const auto length = read<uint64_t>(field);
    const auto* text = reinterpret_cast<const char*>(here());
    skip(length, field);
    return {text, static_cast<size_t>(length)};
  }

 private:
  [[noreturn]] void truncated(std::string_view field, uint64_t needed) const {
    throw_error(ErrorCode::kInvalidModel,
                "[{}] {} must lie within the file: got {} bytes at offset {} of {}", *path_, field,
                needed, at_, bytes_.size());
  }

  std::span<const std::byte> bytes_;
  const std::string* path_;
  size_t at_ = 0;
};

}  // namespace brayton
