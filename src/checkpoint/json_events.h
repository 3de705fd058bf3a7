// JSON read as a stream of events, for tables of 10^5 names: no tree is built, names that occur
// twice are seen, and the time is linear.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace brayton {

struct JsonScalar {
  enum class Kind { kUnsigned, kString, kOther };
  Kind kind;
  uint64_t number;   // of kUnsigned
  std::string text;  // of kString; otherwise how the value is written
};

// Brackets are '{' and '['. What a callback throws comes out of read_json_events.
class JsonEvents {
 public:
  virtual ~JsonEvents() = default;
  virtual void open(char bracket) = 0;
  virtual void close() = 0;
  virtual void key(std::string name) = 0;
  virtual void value(JsonScalar scalar) = 0;
};

// Throws Error(kInvalidModel) "[where] ..." when `text` is not one JSON value or nests deeper than
// 64 levels. `what` names the text in messages: "field 'header'".
void read_json_events(std::string_view text, const std::string& where, const std::string& what,
                      JsonEvents& events);

}  // namespace brayton
