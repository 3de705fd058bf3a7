#include "engine/sections.h"

#include <cmath>
#include <limits>

#include "core/check.h"
#include "core/checked_math.h"
#include "engine/file_layout.h"

namespace brayton {
namespace {

constexpr int64_t kMaxCount = std::numeric_limits<int32_t>::max();
constexpr int64_t kMaxDim = int64_t{1} << 40;

std::vector<int64_t> integers(const JsonReader& reader, const char* field, int64_t low,
                              int64_t high) {
  std::vector<int64_t> values;
  for (double value : reader.get_doubles(field)) {
    if (!(value >= static_cast<double>(low) && value <= static_cast<double>(high)) ||
        value != std::trunc(value))
      throw_error(ErrorCode::kInvalidModel,
                  "[{}] field '{}' must list integers in [{}, {}], got {}", reader.where(), field,
                  low, high, value);
    values.push_back(static_cast<int64_t>(value));
  }
  return values;
}

Shape shape_from_json(const JsonReader& reader) {
  const std::vector<int64_t> dims = integers(reader, "shape", 1, kMaxDim);
  if (dims.size() > Shape::kMaxRank)
    throw_error(ErrorCode::kInvalidModel, "[{}] field 'shape' must have at most {} sizes, got {}",
                reader.where(), Shape::kMaxRank, dims.size());
  return Shape(dims.begin(), dims.end());
}

}  // namespace

Json to_json(const EngineModel& model) {
  return Json{{"family", model.family},
              {"name", model.name},
              {"vocab_size", model.vocab_size},
              {"hidden_size", model.hidden_size},
              {"layers", model.layers},
              {"heads", model.heads},
              {"kv_heads", model.kv_heads},
              {"head_dim", model.head_dim},
              {"max_positions", model.max_positions},
              {"eos_token_ids", model.eos_token_ids},
              {"bos_token_id", model.bos_token_id},
              {"generation", model.generation}};
}

EngineModel model_from_json(const Json& json, const std::string& where) {
  const JsonReader reader(json, where);
  EngineModel model;
  model.family = reader.get_string({"family"});
  model.name = reader.get_string({"name"});
  model.vocab_size = reader.get_int({"vocab_size"}, 1, kMaxCount);
  model.hidden_size = reader.get_int({"hidden_size"}, 0, kMaxCount);
  model.layers = reader.get_int({"layers"}, 0, kMaxCount);
  model.heads = reader.get_int({"heads"}, 0, kMaxCount);
  model.kv_heads = reader.get_int({"kv_heads"}, 0, kMaxCount);
  model.head_dim = reader.get_int({"head_dim"}, 0, kMaxCount);
  model.max_positions = reader.get_int({"max_positions"}, 0, kMaxCount);
  for (int64_t id : integers(reader, "eos_token_ids", 0, model.vocab_size - 1))
    model.eos_token_ids.push_back(static_cast<int32_t>(id));
  model.bos_token_id =
      static_cast<int32_t>(reader.get_int({"bos_token_id"}, -1, model.vocab_size - 1));
  if (reader.has("generation")) model.generation = reader.object("generation").json();
  return model;
}

Json to_json(const EngineText& text) {
  return Json{{"tokenizer_kind", text.tokenizer_kind},
              {"chat_template", text.chat_template},
              {"bos_token", text.bos_token},
              {"eos_token", text.eos_token}};
}

EngineText text_from_json(const Json& json, const std::string& where) {
  const JsonReader reader(json, where);
  EngineText text;
  text.tokenizer_kind = static_cast<uint8_t>(reader.get_int({"tokenizer_kind"}, 0, 255));
  text.chat_template = reader.get_string({"chat_template"});
  text.bos_token = reader.get_string({"bos_token"});
  text.eos_token = reader.get_string({"eos_token"});
  return text;
}

WeightIndex make_weight_index(const std::map<std::string, TensorView>& weights) {
  WeightIndex index;
  index.json = Json::array();
  for (const auto& [name, tensor] : weights) {
    BRAYTON_CHECK(tensor.contiguous());
    index.bytes = round_up(index.bytes, kTensorAlignment);
    index.json.push_back({{"name", name},
                          {"dtype", dtype_name(tensor.dtype)},
                          {"shape", std::vector(tensor.shape.begin(), tensor.shape.end())},
                          {"offset", index.bytes}});
    index.bytes += tensor.bytes();
  }
  return index;
}

std::map<std::string, TensorView> weights_from_json(const Json& json,
                                                    std::span<const std::byte> section,
                                                    const std::string& where) {
  if (!json.is_array()) throw_error(ErrorCode::kInvalidModel, "[{}] must be a list", where);
  const auto size = static_cast<int64_t>(section.size());
  std::map<std::string, TensorView> weights;
  for (const Json& element : json) {
    const JsonReader reader(element, format("{}: [{}]", where, weights.size()));
    const std::string name = reader.get_string({"name"});
    const std::string dtype_text = reader.get_string({"dtype"});
    const std::optional<DType> dtype = dtype_from_name(dtype_text);
    if (!dtype)
      throw_error(ErrorCode::kInvalidModel, "[{}] tensor '{}': dtype must be known, got '{}'",
                  where, name, dtype_text);
    const Shape shape = shape_from_json(reader);
    const int64_t bytes = storage_bytes(*dtype, shape);
    const int64_t offset = reader.get_int({"offset"}, 0, size);
    if (offset % kTensorAlignment != 0 || bytes > size - offset)
      throw_error(ErrorCode::kInvalidModel,
                  "[{}] tensor '{}' must lie aligned in {} bytes of weights, got [{}, +{})", where,
                  name, size, offset, bytes);
    if (!weights.emplace(name, TensorView(section.data() + offset, *dtype, shape)).second)
      throw_error(ErrorCode::kInvalidModel, "[{}] tensor '{}' must be listed once", where, name);
  }
  return weights;
}

}  // namespace brayton
