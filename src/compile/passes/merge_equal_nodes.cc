// merge_equal_nodes: what is computed twice is computed once; two uses of a rearranged weight then
// share its memory.
//
//   %1 = weight {name="w"}                         %1 = weight {name="w"}
//   %2 = transpose(%1)                             %2 = transpose(%1)
//   %3 = linear(%0, %2)                      ->    %3 = linear(%0, %2)
//   %4 = transpose(%1)                             %4 = linear(%3, %2)
//   %5 = linear(%3, %4)
#include <map>
#include <tuple>

#include "compile/passes/passes.h"

namespace brayton {

bool merge_equal_nodes(Graph& graph) {
  using Key = std::tuple<std::string, std::vector<ValueId>, std::map<std::string, Attribute>>;
  std::map<Key, NodeId> seen;
  bool changed = false;
  for (NodeId id = 0; id < static_cast<NodeId>(graph.nodes().size()); ++id) {
    const Node& node = graph.node(id);
    if (node.op == "attention" || node.op == "input") continue;  // writes the cache; stays
    const auto [it, is_new] = seen.emplace(Key(node.op, node.inputs, node.attributes.map()), id);
    if (is_new) continue;
    const Node& first = graph.node(it->second);
    if (graph.value(first.outputs[0]).type != graph.value(node.outputs[0]).type) continue;
    for (size_t i = 0; i < node.outputs.size(); ++i)
      graph.replace_uses(node.outputs[i], first.outputs[i]);
    changed = true;
  }
  if (changed) graph.compact();
  return changed;
}

}  // namespace brayton
