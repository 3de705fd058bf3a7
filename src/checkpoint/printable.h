// Text from files that nobody vouches for, made fit for messages and for JSON.
#pragma once

#include <string>
#include <string_view>

namespace brayton {

bool is_utf8(std::string_view text);
// The same text where it is UTF-8; every other byte becomes U+FFFD.
std::string to_utf8(std::string_view text);
// For messages: at most 80 bytes of it, bytes beyond printable ASCII as \xNN.
std::string printable(std::string_view text);

}  // namespace brayton
