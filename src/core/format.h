// fmt under one name, until std::format can be taken for granted.
#pragma once

#ifndef FMT_HEADER_ONLY
#define FMT_HEADER_ONLY
#endif
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "brayton/error.h"

namespace brayton {

using fmt::format;

// throw_error(ErrorCode::kInvalidModel, "[gguf] {}: ...", path)
template <class... Args>
[[noreturn]] void throw_error(ErrorCode code, fmt::format_string<Args...> text, Args&&... args) {
  throw Error(code, fmt::format(text, std::forward<Args>(args)...));
}

}  // namespace brayton
