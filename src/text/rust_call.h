// Calls into the Rust half: buffers that free themselves, statuses as exceptions.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "core/format.h"
#include "text/rust/text_abi.h"

namespace brayton::rust {

inline BraytonBytes bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

class Buffer {
 public:
  Buffer() = default;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { brayton_text_buffer_free(raw_); }

  BraytonBuffer* out() { return &raw_; }
  std::string_view view() const {
    return {reinterpret_cast<const char*>(raw_.data), raw_.data ? raw_.size : 0};
  }

 private:
  BraytonBuffer raw_{};
};

// Throws what `status` says; `out` then holds the message.
inline void check(int32_t status, const Buffer& out, std::string_view where) {
  const auto code = [&] {
    switch (status) {
      case kBraytonTextInvalidModel:
        return ErrorCode::kInvalidModel;
      case kBraytonTextInvalidArgument:
        return ErrorCode::kInvalidArgument;
      case kBraytonTextUnsupported:
        return ErrorCode::kUnsupported;
      default:
        return ErrorCode::kInternal;
    }
  };
  if (status != kBraytonTextOk) throw_error(code(), "[{}] {}", where, out.view());
}

}  // namespace brayton::rust
