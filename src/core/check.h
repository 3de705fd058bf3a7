// Checks for bugs in Brayton itself; they stay on in release builds. Misuse is an Error thrown with
// throw_error; a failed check is an Error of code kInternal that prints both values.
#pragma once

#include "core/format.h"

namespace brayton::detail {
template <class A, class B>
[[noreturn]] void check_failed(const char* file, int line, const char* text, const A& a,
                               const B& b) {
  throw_error(ErrorCode::kInternal, "{}:{}: check failed: {} ({} against {}); this is a bug", file,
              line, text, a, b);
}
[[noreturn]] inline void check_failed(const char* file, int line, const char* text) {
  throw_error(ErrorCode::kInternal, "{}:{}: check failed: {}; this is a bug", file, line, text);
}
}  // namespace brayton::detail

#define BRAYTON_CHECK(condition)                                                       \
  do {                                                                                 \
    if (!(condition)) ::brayton::detail::check_failed(__FILE__, __LINE__, #condition); \
  } while (false)

#define BRAYTON_CHECK_OP(a, op, b)                                                              \
  do {                                                                                          \
    const auto& check_a = (a);                                                                  \
    const auto& check_b = (b);                                                                  \
    if (!(check_a op check_b))                                                                  \
      ::brayton::detail::check_failed(__FILE__, __LINE__, #a " " #op " " #b, check_a, check_b); \
  } while (false)

#define BRAYTON_CHECK_EQ(a, b) BRAYTON_CHECK_OP(a, ==, b)
#define BRAYTON_CHECK_LE(a, b) BRAYTON_CHECK_OP(a, <=, b)
#define BRAYTON_CHECK_LT(a, b) BRAYTON_CHECK_OP(a, <, b)
#define BRAYTON_CHECK_GE(a, b) BRAYTON_CHECK_OP(a, >=, b)
