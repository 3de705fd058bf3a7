// fuse_add_norm: a sum and the norm of it become one op with two results. Other readers of the sum
// read the second.
//
//   %3 = add(%0, %1)                               %3, %4 = add_rms_norm(%1, %0, %2) {eps=1e-05}
//   %4 = rms_norm(%3, %2) {eps=1e-05}        ->    %5 = add(%4, %3)
//   %5 = add(%3, %4)
#include "compile/passes/passes.h"

namespace brayton {
namespace {

NodeId norm_of(const Graph& graph, ValueId sum) {
  for (NodeId user : graph.users(sum)) {
    const Node& node = graph.node(user);
    if ((node.op == "rms_norm" || node.op == "layer_norm") && node.inputs[0] == sum) return user;
  }
  return -1;
}

}  // namespace

bool fuse_add_norm(Graph& graph) {
  bool changed = false;
  const auto count = static_cast<NodeId>(graph.nodes().size());
  for (NodeId id = 0; id < count; ++id) {
    const Node add = graph.node(id);
    if (add.op != "add") continue;
    if (graph.value(add.inputs[0]).type != graph.value(add.inputs[1]).type) continue;  // a row
    const NodeId user = norm_of(graph, add.outputs[0]);
    if (user < 0) continue;
    const Node norm = graph.node(user);
    std::vector<ValueId> inputs = {add.inputs[1], add.inputs[0]};  // the branch, the residual
    inputs.insert(inputs.end(), norm.inputs.begin() + 1, norm.inputs.end());
    const std::vector<ValueId> fused = graph.add("add_" + norm.op, inputs, norm.attributes);
    graph.replace_uses(norm.outputs[0], fused[0]);
    graph.replace_uses(add.outputs[0], fused[1]);
    changed = true;
  }
  if (changed) graph.compact();
  return changed;
}

}  // namespace brayton
