#include <array>
#include <cmath>
#include <limits>

#include "core/check.h"
#include "engine/plan.h"

namespace brayton {
namespace {

using Kind = PlanValue::Kind;

constexpr std::array<std::pair<Kind, std::string_view>, 6> kKinds = {{
    {Kind::kInput, "input"},
    {Kind::kWeight, "weight"},
    {Kind::kConstant, "constant"},
    {Kind::kLoaded, "loaded"},
    {Kind::kActivation, "activation"},
    {Kind::kView, "view"},
}};

constexpr int64_t kMaxSize = int64_t{1} << 40;

Json attribute_to_json(const Attribute& attribute) {
  return std::visit(
      [](const auto& value) {
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<T, double>) BRAYTON_CHECK(std::isfinite(value));
        if constexpr (std::is_same_v<T, std::vector<double>>)
          for (double element : value) BRAYTON_CHECK(std::isfinite(element));
        return Json(value);
      },
      attribute);
}

int64_t to_int64(const Json& value, const std::string& where) {
  if (value.is_number_unsigned() &&
      value.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
    throw_error(ErrorCode::kInvalidModel, "[{}] must be an integer below 2^63, got {}", where,
                value.dump());
  return value.get<int64_t>();
}

Attribute list_from_json(const Json& list, const std::string& where) {
  bool integers = true;
  for (const Json& element : list) {
    if (!element.is_number())
      throw_error(ErrorCode::kInvalidModel, "[{}] must be a list of numbers", where);
    integers = integers && element.is_number_integer();
  }
  if (!integers) return list.get<std::vector<double>>();
  std::vector<int64_t> values;
  for (const Json& element : list) values.push_back(to_int64(element, where));
  return values;
}

Attribute attribute_from_json(const Json& value, const std::string& where) {
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_number_integer()) return to_int64(value, where);
  if (value.is_number_float()) return value.get<double>();
  if (value.is_string()) return value.get<std::string>();
  if (value.is_array()) return list_from_json(value, where);
  throw_error(ErrorCode::kInvalidModel, "[{}] must be a number, a text or a list", where);
}

Json value_to_json(const PlanValue& value) {
  Json json = Json::object();
  for (const auto& [kind, name] : kKinds)
    if (kind == value.kind) json["kind"] = name;
  json["type"] = value.type.str();
  if (!value.name.empty()) json["name"] = value.name;
  if (value.kind == Kind::kConstant) {
    for (float number : value.numbers) BRAYTON_CHECK(std::isfinite(number));
    json["numbers"] = value.numbers;
  }
  if (value.kind == Kind::kView) {
    json["base"] = value.base;
    json["begin"] = value.begin;
  }
  return json;
}

PlanValue value_from_json(const JsonReader& reader) {
  PlanValue value;
  const std::string kind = reader.get_string({"kind"});
  bool known = false;
  for (const auto& [row, name] : kKinds) {
    if (name != kind) continue;
    value.kind = row;
    known = true;
  }
  if (!known)
    throw_error(ErrorCode::kInvalidModel, "[{}] field 'kind' must be a kind of value, got '{}'",
                reader.where(), kind);
  value.type = parse_value_type(reader.get_string({"type"}));
  value.name = reader.get_string({"name"}, "");
  if (value.kind == Kind::kConstant)
    for (double number : reader.get_doubles("numbers"))
      value.numbers.push_back(static_cast<float>(number));
  if (value.kind == Kind::kView) {
    value.base = static_cast<PlanValueId>(
        reader.get_int({"base"}, 0, std::numeric_limits<PlanValueId>::max()));
    value.begin = reader.get_int({"begin"}, 0, kMaxSize);
  }
  return value;
}

Json instruction_to_json(const Instruction& instruction) {
  Json json = Json::object();
  json["op"] = instruction.op;
  if (!instruction.tactic.empty()) json["tactic"] = instruction.tactic;
  json["inputs"] = instruction.inputs;
  json["outputs"] = instruction.outputs;
  if (!instruction.attributes.map().empty()) {
    Json& attributes = json["attributes"] = Json::object();
    for (const auto& [name, attribute] : instruction.attributes.map())
      attributes[name] = attribute_to_json(attribute);
  }
  return json;
}

const Json& list(const JsonReader& reader, const std::string& field) {
  const auto it = reader.json().find(field);
  if (it == reader.json().end() || !it->is_array())
    throw_error(ErrorCode::kInvalidModel, "[{}] field '{}' must be a list", reader.where(), field);
  return *it;
}

std::vector<PlanValueId> ids_from_json(const JsonReader& reader, const std::string& field) {
  std::vector<PlanValueId> ids;
  for (const Json& element : list(reader, field)) {
    const int64_t id = element.is_number_integer() ? to_int64(element, reader.where()) : -2;
    if (id < -1 || id > std::numeric_limits<PlanValueId>::max())
      throw_error(ErrorCode::kInvalidModel, "[{}] field '{}' must list ids of values, got {}",
                  reader.where(), field, element.dump());
    ids.push_back(static_cast<PlanValueId>(id));
  }
  return ids;
}

Instruction instruction_from_json(const JsonReader& reader) {
  Instruction instruction;
  instruction.op = reader.get_string({"op"});
  instruction.tactic = reader.get_string({"tactic"}, "");
  instruction.inputs = ids_from_json(reader, "inputs");
  instruction.outputs = ids_from_json(reader, "outputs");
  if (reader.has("attributes")) {
    const JsonReader attributes = reader.object("attributes");
    for (const auto& [name, value] : attributes.json().items())
      instruction.attributes.set(
          name, attribute_from_json(value, format("{}: {}", attributes.where(), name)));
  }
  return instruction;
}

std::vector<Instruction> instructions_from_json(const JsonReader& reader,
                                                const std::string& field) {
  std::vector<Instruction> instructions;
  for (const Json& element : list(reader, field))
    instructions.push_back(instruction_from_json(
        {element, format("{}: {}[{}]", reader.where(), field, instructions.size())}));
  return instructions;
}

}  // namespace

Json to_json(const Plan& plan) {
  Json json = Json::object();
  json["dtype"] = dtype_name(plan.dtype);
  json["logits"] = plan.logits;
  json["attentions"] = plan.attentions;
  json["kv_heads"] = plan.kv_heads;
  json["head_dim"] = plan.head_dim;
  Json& values = json["values"] = Json::array();
  for (const PlanValue& value : plan.values) values.push_back(value_to_json(value));
  Json& load = json["load"] = Json::array();
  for (const Instruction& instruction : plan.load) load.push_back(instruction_to_json(instruction));
  Json& steps = json["steps"] = Json::array();
  for (const Instruction& instruction : plan.steps)
    steps.push_back(instruction_to_json(instruction));
  return json;
}

Plan plan_from_json(const Json& json, const std::string& where) {
  const JsonReader reader(json, where);
  Plan plan;
  const std::string dtype = reader.get_string({"dtype"});
  const std::optional<DType> nominal = dtype_from_name(dtype);
  if (!nominal || !is_float(*nominal))
    throw_error(ErrorCode::kInvalidModel, "[{}] field 'dtype' must be a float type, got '{}'",
                where, dtype);
  plan.dtype = *nominal;
  plan.logits = static_cast<PlanValueId>(
      reader.get_int({"logits"}, 0, std::numeric_limits<PlanValueId>::max()));
  plan.attentions = reader.get_int({"attentions"}, 0, kMaxSize);
  plan.kv_heads = reader.get_int({"kv_heads"}, 0, kMaxSize);
  plan.head_dim = reader.get_int({"head_dim"}, 0, kMaxSize);
  for (const Json& element : list(reader, "values"))
    plan.values.push_back(
        value_from_json({element, format("{}: values[{}]", where, plan.values.size())}));
  plan.load = instructions_from_json(reader, "load");
  plan.steps = instructions_from_json(reader, "steps");
  check(plan, where);
  return plan;
}

}  // namespace brayton
