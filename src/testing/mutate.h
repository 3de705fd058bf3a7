// Damaged copies of a file, for tests of the parsers of files that nobody vouches for:
//
//   testing::Mutator mutator(seed);  // print the seed when a case fails
//   const auto damaged = mutator.mutate(good);
//   parse(MappedFile::from_bytes("case", damaged));  // an unreadable page follows the last byte
//
// Only tests include this header.
#pragma once

#include <algorithm>
#include <array>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace brayton::testing {

using Bytes = std::vector<std::byte>;

inline std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// The same seed gives the same changes on every platform.
class Mutator {
 public:
  explicit Mutator(uint64_t seed) : state_(seed) {}

  // Uniform in [0, end); 0 when `end` is 0.
  uint64_t below(uint64_t end) { return end == 0 ? 0 : next() % end; }

  // A copy with one to four changes that know nothing of the format: flipped bits, integers that
  // lie, truncations, lengthened ends, ranges removed, repeated or copied over others.
  Bytes mutate(std::span<const std::byte> bytes) {
    Bytes result(bytes.begin(), bytes.end());
    for (uint64_t changes = changes_of_a_case(); changes > 0; --changes) change(result);
    return result;
  }

  // Overwrites the little-endian integer of `width` bytes (1, 2, 4, 8) at `offset` by one that
  // parsers get wrong: 0, 1, all ones, signed extremes, near the file's size, near the old value.
  void lie(Bytes& bytes, size_t offset, size_t width) {
    if (offset + width > bytes.size()) return;
    uint64_t old = 0;
    std::memcpy(&old, bytes.data() + offset, width);
    const uint64_t size = bytes.size(), top = uint64_t{1} << (width * 8 - 1);
    const uint64_t values[] = {0,
                               1,
                               ~uint64_t{0},
                               ~uint64_t{0} - below(64),
                               top,
                               top - 1,
                               size,
                               size - offset,
                               size + 1,
                               old + 1,
                               old - 1,
                               old * 2,
                               below(8),
                               below(64),
                               next(),
                               next() >> below(64),
                               uint64_t{1} << below(64)};
    const uint64_t value = values[below(std::size(values))];
    std::memcpy(bytes.data() + offset, &value, width);
  }

  // A copy of a JSON text with one to four changes of its tokens: replaced by other tokens of the
  // text or by awkward ones, repeated, removed, swapped; one case in four is changed blindly.
  std::string mutate_json(std::string_view text) {
    if (below(4) == 0) {
      const Bytes blind = mutate(as_bytes(text));
      return {reinterpret_cast<const char*>(blind.data()), blind.size()};
    }
    std::vector<std::string> tokens = json_tokens(text);
    for (uint64_t changes = changes_of_a_case(); changes > 0 && !tokens.empty(); --changes)
      change_tokens(tokens);
    std::string result;
    for (const std::string& token : tokens) result += token;
    return result;
  }

 private:
  // One in two cases has a single change: more of them get past the first checks.
  uint64_t changes_of_a_case() { return below(2) ? 1 : 1 + below(4); }

  uint64_t next() {  // splitmix64
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

  void change(Bytes& bytes) {
    const size_t size = bytes.size();
    const size_t at = below(size);
    const size_t length = std::min<size_t>(1 + below(below(2) ? 8 : size), size - at);
    const auto first = bytes.begin() + static_cast<ptrdiff_t>(at);
    const auto last = first + static_cast<ptrdiff_t>(length);
    switch (below(size == 0 ? 1 : 9)) {
      case 0:
        for (uint64_t n = 1 + below(64); n > 0; --n)
          bytes.push_back(static_cast<std::byte>(below(256)));
        break;
      case 1:
      case 2:
        bytes[at] ^= static_cast<std::byte>(1u << below(8));
        break;
      case 3:
        bytes[at] = static_cast<std::byte>(below(256));
        break;
      case 4:
        lie(bytes, at / 8 * 8, 8);
        break;
      case 5:
        lie(bytes, at, size_t{1} << below(4));
        break;
      case 6:
        bytes.resize(at);
        break;
      case 7:
        bytes.erase(first, last);
        break;
      default: {
        const Bytes range(first, last);
        const size_t to = below(size - length + 1);
        if (below(2))
          std::copy(range.begin(), range.end(), bytes.begin() + static_cast<ptrdiff_t>(to));
        else
          bytes.insert(bytes.begin() + static_cast<ptrdiff_t>(to), range.begin(), range.end());
      }
    }
  }

  // Strings with their quotes, runs of other letters and digits, single punctuation marks.
  static std::vector<std::string> json_tokens(std::string_view text) {
    const auto is_word = [](char c) {
      return std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '+' || c == '.';
    };
    std::vector<std::string> tokens;
    for (size_t at = 0; at < text.size();) {
      size_t end = at + 1;
      if (text[at] == '"') {
        while (end < text.size() && text[end] != '"') end += text[end] == '\\' ? 2 : 1;
        end = std::min(end + 1, text.size());
      } else if (is_word(text[at])) {
        while (end < text.size() && is_word(text[end])) ++end;
      }
      tokens.emplace_back(text.substr(at, end - at));
      at = end;
    }
    return tokens;
  }

  // A string, number or literal rather than punctuation, most of the time: other texts seldom
  // parse.
  size_t pick_token(const std::vector<std::string>& tokens) {
    size_t at = below(tokens.size());
    for (int tries = 0; tries < 5 && tokens[at].size() < 2; ++tries) at = below(tokens.size());
    return at;
  }

  void change_tokens(std::vector<std::string>& tokens) {
    // clang-format off
    static constexpr std::string_view kAwkward[] = {
        "0", "-1", "1", "1.5", "-0.0", "1e999", "1e-999", "2147483648", "9223372036854775807",
        "9223372036854775808", "18446744073709551615", "18446744073709551616",
        "100000000000000000000000", "null", "true", "\"\"", "\"\\u0000\"", "\"\\ud800\"",
        "\"\xff\"", "\"../x\"", "\"/etc/passwd\"", "[]", "{}", "[[[[1]]]]", "{\"a\":{\"a\":{}}}",
        "NaN", ",", ":", "\"", "}", "]", "//"};
    // clang-format on
    const size_t at = pick_token(tokens);
    const size_t other = pick_token(tokens);
    const auto place = tokens.begin() + static_cast<ptrdiff_t>(at);
    const auto run = static_cast<ptrdiff_t>(std::min<size_t>(1 + below(12), tokens.size() - at));
    switch (below(8)) {
      case 0:
      case 1:
      case 2:
        tokens[at] = kAwkward[below(std::size(kAwkward))];
        break;
      case 3:
      case 4:
        tokens[at] = std::string(tokens[other]);
        break;
      case 5:
        std::swap(tokens[at], tokens[other]);
        break;
      case 6: {
        const std::vector<std::string> copy(place, place + run);
        if (below(2))
          tokens.erase(place, place + run);
        else
          tokens.insert(tokens.begin() + static_cast<ptrdiff_t>(other), copy.begin(), copy.end());
        break;
      }
      default: {
        const size_t length = 1 + below(200);  // a long number, or a deep list
        tokens[at] = below(2) ? std::string(length, '9')
                              : std::string(length, '[') + "1" + std::string(length, ']');
      }
    }
  }

  uint64_t state_;
};

}  // namespace brayton::testing
