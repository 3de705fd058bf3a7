#include "compile/passes/join_linears.h"

#include <algorithm>

#include "core/check.h"

namespace brayton {
namespace {

ValueId bias_of(const Graph& graph, ValueId result) {
  const Node& node = graph.producer(result);
  return node.inputs.size() > 2 ? node.inputs[2] : kNoValue;
}

ValueId join_biases(Graph& graph, const std::vector<ValueId>& results) {
  std::vector<ValueId> biases;
  bool any = false, as_stored = true;
  for (ValueId result : results) {
    const ValueId bias = bias_of(graph, result);
    biases.push_back(bias);
    any = any || bias != kNoValue;
    as_stored = as_stored && bias != kNoValue && biases[0] != kNoValue &&
                graph.value(bias).type.dtype == graph.value(biases[0]).type.dtype;
  }
  if (!any) return kNoValue;
  for (size_t i = 0; !as_stored && i < biases.size(); ++i) {
    if (biases[i] == kNoValue) {
      const int64_t size = graph.value(results[i]).type.dims.back().size;
      biases[i] = graph.add_leaf("constant", {DType::kF32, {size}},
                                 {{"values", std::vector<double>(size, 0.0)}});
    } else if (graph.value(biases[i]).type.dtype != DType::kF32) {
      biases[i] = graph.add("convert", {biases[i]}, {{"dtype", std::string("f32")}})[0];
    }
  }
  return graph.add("concat", biases, {{"axis", int64_t{0}}})[0];
}

}  // namespace

bool is_sole_linear(const Graph& graph, ValueId value) {
  return graph.producer(value).op == "linear" && graph.users(value).size() == 1 &&
         std::none_of(graph.outputs().begin(), graph.outputs().end(),
                      [&](const auto& output) { return output.second == value; });
}

ValueId join_linears(Graph& graph, const std::vector<ValueId>& results) {
  const ValueId x = graph.producer(results.at(0)).inputs[0];
  std::vector<ValueId> weights;
  for (ValueId result : results) {
    BRAYTON_CHECK_EQ(graph.producer(result).inputs[0], x);
    weights.push_back(graph.producer(result).inputs[1]);
  }
  const ValueId weight = graph.add("concat", weights, {{"axis", int64_t{0}}})[0];
  return graph.add("linear", {x, weight, join_biases(graph, results)})[0];
}

}  // namespace brayton
