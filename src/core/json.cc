#include "core/json.h"

#include <cmath>
#include <limits>

#include "core/format.h"

namespace brayton {
namespace {

constexpr int kMaxDepth = 64;

std::string shown(const Json& value) {
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

}  // namespace

Json parse_json(std::string_view text, const std::string& where) {
  // `depth` counts the levels around the event.
  const auto limit = [&](int depth, Json::parse_event_t event, Json&) {
    const bool opens =
        event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start;
    if (opens && depth >= kMaxDepth)
      throw_error(ErrorCode::kInvalidModel, "[{}] JSON must nest at most {} levels", where,
                  kMaxDepth);
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), limit);
  } catch (const Json::exception& fault) {
    throw_error(ErrorCode::kInvalidModel, "[{}] must be JSON: {}", where, fault.what());
  }
}

JsonReader::JsonReader(const Json& object, std::string where)
    : object_(&object), where_(std::move(where)) {
  if (!object.is_object())
    throw_error(ErrorCode::kInvalidModel, "[{}] must be a JSON object, got {}", where_,
                shown(object));
}

bool JsonReader::has(std::string_view field) const { return find({field}) != nullptr; }

const Json* JsonReader::find(Names fields) const {
  for (std::string_view field : fields) {
    const auto it = object_->find(std::string(field));
    if (it != object_->end() && !it->is_null()) return &*it;
  }
  return nullptr;
}

const Json& JsonReader::need(Names fields) const {
  if (const Json* value = find(fields)) return *value;
  throw_error(ErrorCode::kInvalidModel, "[{}] field '{}' is missing", where_,
              fmt::join(fields, "' or '"));
}

void JsonReader::wrong(std::string_view field, std::string_view expected, const Json& got) const {
  throw_error(ErrorCode::kInvalidModel, "[{}] field '{}' must be {}, got {}", where_, field,
              expected, shown(got));
}

int64_t JsonReader::get_int(Names fields, int64_t low, int64_t high) const {
  const Json& value = need(fields);
  const std::string expected = format("an integer in [{}, {}]", low, high);
  const std::string name = format("{}", fmt::join(fields, "' or '"));
  if (value.is_number_unsigned() &&
      value.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
    wrong(name, expected, value);
  int64_t result = 0;
  if (value.is_number_integer()) {
    result = value.get<int64_t>();
  } else if (value.is_number_float() && std::abs(value.get<double>()) < 1e15 &&
             std::trunc(value.get<double>()) == value.get<double>()) {
    result = static_cast<int64_t>(value.get<double>());
  } else {
    wrong(name, expected, value);
  }
  if (result < low || result > high) wrong(name, expected, value);
  return result;
}

int64_t JsonReader::get_int(Names fields, int64_t low, int64_t high, int64_t otherwise) const {
  return find(fields) ? get_int(fields, low, high) : otherwise;
}

double JsonReader::get_double(Names fields) const {
  const Json& value = need(fields);
  if (!value.is_number() || !std::isfinite(value.get<double>()))
    wrong(format("{}", fmt::join(fields, "' or '")), "a finite number", value);
  return value.get<double>();
}

double JsonReader::get_double(Names fields, double otherwise) const {
  return find(fields) ? get_double(fields) : otherwise;
}

bool JsonReader::get_bool(Names fields, bool otherwise) const {
  const Json* value = find(fields);
  if (!value) return otherwise;
  if (!value->is_boolean())
    wrong(format("{}", fmt::join(fields, "' or '")), "true or false", *value);
  return value->get<bool>();
}

std::string JsonReader::get_string(Names fields) const {
  const Json& value = need(fields);
  if (!value.is_string()) wrong(format("{}", fmt::join(fields, "' or '")), "a string", value);
  return value.get<std::string>();
}

std::string JsonReader::get_string(Names fields, std::string otherwise) const {
  return find(fields) ? get_string(fields) : otherwise;
}

std::vector<double> JsonReader::get_doubles(std::string_view field) const {
  const Json& value = need({field});
  if (!value.is_array()) wrong(field, "a list of numbers", value);
  std::vector<double> result;
  for (const Json& element : value) {
    if (!element.is_number()) wrong(field, "a list of numbers", value);
    result.push_back(element.get<double>());
  }
  return result;
}

JsonReader JsonReader::object(std::string_view field) const {
  const Json& value = need({field});
  if (!value.is_object()) wrong(field, "an object", value);
  return {value, format("{}: {}", where_, field)};
}

}  // namespace brayton
