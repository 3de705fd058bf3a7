#include "models/families.h"

#include <algorithm>
#include <numeric>

#include "core/format.h"

namespace brayton {

const std::vector<Family>& families() {
  static const std::vector<Family> list = {
      llama_family(), mistral_family(), gpt2_family(), gpt_neox_family(), bloom_family(),
  };
  return list;
}

namespace {

constexpr size_t kLongestName = 64;  // of names from files, in messages and comparisons

size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row.back();
}

const Family* find_by_name(const std::string& name) {
  for (const Family& family : families())
    if (std::ranges::find(family.architectures, name) != family.architectures.end()) return &family;
  return nullptr;
}

[[noreturn]] void unknown(const std::string& where, const std::string& field, std::string name) {
  name.resize(std::min(name.size(), kLongestName));
  std::string nearest;
  size_t least = SIZE_MAX;
  std::vector<std::string> names;
  for (const Family& family : families()) {
    names.push_back(family.name);
    for (const std::string& known : family.architectures) {
      const size_t distance = edit_distance(name, known);
      if (distance >= least) continue;
      least = distance;
      nearest = known;
    }
  }
  throw_error(ErrorCode::kUnsupported,
              "[{}] {} must be of one of the families {}; got '{}', the nearest known name is '{}'",
              where, field, fmt::join(names, ", "), name, nearest);
}

}  // namespace

const Family& find_family(const JsonReader& config) {
  std::vector<std::string> names;
  if (config.has("architectures") && config.json()["architectures"].is_array())
    for (const Json& name : config.json()["architectures"])
      if (name.is_string()) names.push_back(name.get<std::string>());
  for (const std::string& name : names)
    if (const Family* family = find_by_name(name)) return *family;
  if (!names.empty()) unknown(config.where(), "architectures", names.front());
  const std::string type = config.get_string({"model_type"});
  if (const Family* family = find_by_name(type)) return *family;
  unknown(config.where(), "model_type", type);
}

const Family& find_gguf_family(const std::string& architecture, const std::string& where) {
  for (const Family& family : families())
    if (!architecture.empty() && family.gguf_architecture == architecture) return family;
  unknown(where, "general.architecture", architecture);
}

}  // namespace brayton
