// fmt under one name, until std::format can be taken for granted.
#pragma once

// fmt 9 (Debian 12, Ubuntu 24.04) is compiled once, in format.cc, which saves seconds per file;
// other versions are used as headers only.
#if __has_include(<fmt/base.h>)
#define FMT_HEADER_ONLY
#else
#include <fmt/core.h>
#if FMT_VERSION < 90000 || FMT_VERSION >= 100000
#define FMT_HEADER_ONLY
#endif
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
