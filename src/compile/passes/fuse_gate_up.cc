// fuse_gate_up: a gated MLP's two linear layers become one, and its activation and product one op.
//
//   %3 = linear(%0, %1)                            %3 = concat(%1, %2) {axis=0}
//   %4 = activation(%3) {kind="silu"}              %4 = linear(%0, %3)
//   %5 = linear(%0, %2)                      ->    %5 = gated_activation(%4) {kind="silu"}
//   %6 = mul(%4, %5)
#include "compile/passes/join_linears.h"
#include "compile/passes/passes.h"

namespace brayton {
namespace {

// The gate's linear result when `value` is an activation that only the product reads.
ValueId gate_behind(const Graph& graph, ValueId value) {
  const Node& activation = graph.producer(value);
  if (activation.op != "activation" || graph.users(value).size() != 1) return kNoValue;
  return is_sole_linear(graph, activation.inputs[0]) ? activation.inputs[0] : kNoValue;
}

bool fuse(Graph& graph, ValueId product, ValueId activated, ValueId up) {
  const ValueId gate = gate_behind(graph, activated);
  if (gate == kNoValue || !is_sole_linear(graph, up)) return false;
  const Node &g = graph.producer(gate), &u = graph.producer(up);
  if (g.inputs[0] != u.inputs[0]) return false;
  if (graph.value(g.inputs[1]).type != graph.value(u.inputs[1]).type) return false;
  const Attributes kind = graph.producer(activated).attributes;
  const ValueId joined = join_linears(graph, {gate, up});
  graph.replace_uses(product, graph.add("gated_activation", {joined}, kind)[0]);
  return true;
}

}  // namespace

bool fuse_gate_up(Graph& graph) {
  bool changed = false;
  const auto count = static_cast<NodeId>(graph.nodes().size());
  for (NodeId id = 0; id < count; ++id) {
    const Node node = graph.node(id);
    if (node.op != "mul") continue;
    const ValueId a = node.inputs[0], b = node.inputs[1], product = node.outputs[0];
    if (fuse(graph, product, a, b) || fuse(graph, product, b, a)) changed = true;
  }
  if (changed) graph.compact();
  return changed;
}

}  // namespace brayton
