#include "checkpoint/printable.h"

#include <algorithm>
#include <cstdint>

#include "core/format.h"

namespace brayton {
namespace {

// Bytes of the UTF-8 sequence at the start of `text`; 0 when there is none. Unicode 15, table 3-7:
// no overlong forms, no surrogates, nothing above U+10FFFF.
size_t sequence_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const auto continues = [&](size_t length) {
    if (text.size() < length) return false;
    for (size_t i = 1; i < length; ++i)
      if ((byte(i) & 0xc0) != 0x80) return false;
    return true;
  };
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return continues(2) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    if (!continues(3)) return 0;
    if (first == 0xe0 && byte(1) < 0xa0) return 0;
    if (first == 0xed && byte(1) > 0x9f) return 0;
    return 3;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    if (!continues(4)) return 0;
    if (first == 0xf0 && byte(1) < 0x90) return 0;
    if (first == 0xf4 && byte(1) > 0x8f) return 0;
    return 4;
  }
  return 0;
}

}  // namespace

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = sequence_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string to_utf8(std::string_view text) {
  if (is_utf8(text)) return std::string(text);
  std::string result;
  while (!text.empty()) {
    const size_t length = sequence_length(text);
    if (length > 0)
      result += text.substr(0, length);
    else
      result += "\xef\xbf\xbd";
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return result;
}

std::string printable(std::string_view text) {
  constexpr size_t kShown = 80;
  std::string result;
  for (const char c : text.substr(0, kShown)) {
    if (c >= ' ' && c <= '~')
      result += c;
    else
      result += format("\\x{:02x}", static_cast<uint8_t>(c));
  }
  if (text.size() > kShown) result += "...";
  return result;
}

}  // namespace brayton
