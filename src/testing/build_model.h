// Builds models from the text of a config, for tests of families.
#pragma once

#include <algorithm>
#include <map>
#include <string>

#include "models/families.h"
#include "testing/op_test.h"

namespace brayton::testing {

// A config's fields, with some of them replaced, added, or removed by null.
inline Json config_of(const char* base, const char* changes = "{}") {
  Json config = parse_json(base, "config.json");
  config.merge_patch(parse_json(changes, "changes"));
  return config;
}

inline ModelDefinition build_model(const Json& config, const WeightLookup& weights = {}) {
  const JsonReader reader(config, "config.json");
  return find_family(reader).build(reader, DType::kF32, weights);
}

// The tensors that a model asks for: what a fitting checkpoint holds.
inline std::map<std::string, WeightInfo> tensors_of(const Graph& graph) {
  std::map<std::string, WeightInfo> tensors;
  for (const Node& node : graph.nodes()) {
    if (node.op != "weight") continue;
    const ValueType& type = graph.value(node.outputs[0]).type;
    tensors[node.attributes.get_string("name")] = {type.dtype, type.shape()};
  }
  return tensors;
}

inline WeightLookup lookup_in(std::map<std::string, WeightInfo> tensors) {
  return [tensors = std::move(tensors)](const std::string& name) -> std::optional<WeightInfo> {
    const auto it = tensors.find(name);
    if (it == tensors.end()) return std::nullopt;
    return it->second;
  };
}

// The first node of `op`.
inline const Node& first(const Graph& graph, const std::string& op) {
  const auto it = std::ranges::find(graph.nodes(), op, &Node::op);
  BRAYTON_CHECK(it != graph.nodes().end());
  return *it;
}

inline int64_t count(const Graph& graph, const std::string& op) {
  return std::ranges::count(graph.nodes(), op, &Node::op);
}

}  // namespace brayton::testing
