// JSON values from files that nobody vouches for.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace brayton {

using Json = nlohmann::ordered_json;

// Parses one JSON text. `where` names the file in messages. Nesting is limited to 64 levels.
// Throws Error(kInvalidModel) with the byte offset of the fault.
Json parse_json(std::string_view text, const std::string& where);

// Typed reading of an object's fields. Every message reads
// "[where] field 'x' must be an integer in [1, 10], got \"y\"".
class JsonReader {
 public:
  JsonReader(const Json& object, std::string where);

  const std::string& where() const { return where_; }
  const Json& json() const { return *object_; }
  bool has(std::string_view field) const;  // present and not null

  // The first of `fields` that is present decides; HF families spell one thing several ways.
  using Names = std::initializer_list<std::string_view>;
  int64_t get_int(Names fields, int64_t low, int64_t high) const;
  int64_t get_int(Names fields, int64_t low, int64_t high, int64_t otherwise) const;
  double get_double(Names fields) const;
  double get_double(Names fields, double otherwise) const;
  bool get_bool(Names fields, bool otherwise) const;
  std::string get_string(Names fields) const;
  std::string get_string(Names fields, std::string otherwise) const;
  std::vector<double> get_doubles(std::string_view field) const;
  JsonReader object(std::string_view field) const;  // a nested object, which must be there

 private:
  const Json* find(Names fields) const;
  const Json& need(Names fields) const;
  [[noreturn]] void wrong(std::string_view field, std::string_view expected, const Json& got) const;

  const Json* object_;
  std::string where_;
};

}  // namespace brayton
