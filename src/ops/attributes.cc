#include "ops/attributes.h"

#include <array>

#include "core/format.h"

namespace brayton {
namespace {

constexpr std::array<std::string_view, 6> kKinds = {"true or false",      "an integer",
                                                    "a number",           "a string",
                                                    "a list of integers", "a list of numbers"};

const Attribute& need(const std::map<std::string, Attribute>& map, const std::string& name) {
  const auto it = map.find(name);
  if (it == map.end())
    throw_error(ErrorCode::kInvalidModel, "[attributes] '{}' must be given, but is missing", name);
  return it->second;
}

template <class T>
const T& need_as(const std::map<std::string, Attribute>& map, const std::string& name) {
  const Attribute& attribute = need(map, name);
  if (const T* value = std::get_if<T>(&attribute)) return *value;
  throw_error(ErrorCode::kInvalidModel, "[attributes] '{}' must be {}, got {}", name,
              kKinds[Attribute(T{}).index()], kKinds[attribute.index()]);
}

}  // namespace

bool Attributes::get_bool(const std::string& name) const { return need_as<bool>(map_, name); }

int64_t Attributes::get_int(const std::string& name) const { return need_as<int64_t>(map_, name); }

double Attributes::get_double(const std::string& name) const {
  if (const int64_t* integer = std::get_if<int64_t>(&need(map_, name)))
    return static_cast<double>(*integer);
  return need_as<double>(map_, name);
}

const std::string& Attributes::get_string(const std::string& name) const {
  return need_as<std::string>(map_, name);
}

std::vector<int64_t> Attributes::get_ints(const std::string& name) const {
  return need_as<std::vector<int64_t>>(map_, name);
}

std::vector<double> Attributes::get_doubles(const std::string& name) const {
  if (const auto* integers = std::get_if<std::vector<int64_t>>(&need(map_, name)))
    return {integers->begin(), integers->end()};
  return need_as<std::vector<double>>(map_, name);
}

}  // namespace brayton
