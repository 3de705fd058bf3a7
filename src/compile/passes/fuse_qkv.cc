// fuse_qkv: the linear layers that make q, k and v of one input become one layer; its result is
// read by columns. Weights of another dtype than the others (a quantised checkpoint's v) stay
// apart.
//
//   %4 = linear(%0, %1)                            %4 = concat(%1, %2, %3) {axis=0}
//   %5 = linear(%0, %2)                            %5 = linear(%0, %4)
//   %6 = linear(%0, %3)                      ->    %6 = slice(%5) {axis=1, begin=0, end=128}
//   %7 = rope(%4, ...)                             %7 = slice(%5) {axis=1, begin=128, end=192}
//   %8 = rope(%5, ...)                             %8 = slice(%5) {axis=1, begin=192, end=256}
//   %9 = attention(%7, %8, %6)                     %9 = rope(%6, ...)
//                                                  %10 = rope(%7, ...)
//                                                  %11 = attention(%9, %10, %8)
#include <algorithm>

#include "compile/passes/join_linears.h"
#include "compile/passes/passes.h"

namespace brayton {
namespace {

// The linear result behind an input of attention, or kNoValue. Rope and attention read columns.
ValueId linear_behind(const Graph& graph, ValueId value) {
  if (graph.producer(value).op == "rope" && graph.users(value).size() == 1)
    value = graph.producer(value).inputs[0];
  return is_sole_linear(graph, value) ? value : kNoValue;
}

// Those of q, k and v that read what the first of them reads, with a weight of its dtype.
std::vector<ValueId> joinable(const Graph& graph, const std::vector<ValueId>& results) {
  std::vector<ValueId> candidates;
  for (ValueId result : results)  // k and v may be one
    if (result != kNoValue && std::ranges::find(candidates, result) == candidates.end())
      candidates.push_back(result);
  const auto alike = [&](ValueId a, ValueId b) {
    const Node &p = graph.producer(a), &q = graph.producer(b);
    return p.inputs[0] == q.inputs[0] &&
           graph.value(p.inputs[1]).type.dtype == graph.value(q.inputs[1]).type.dtype;
  };
  for (ValueId first : candidates) {
    std::vector<ValueId> group;
    for (ValueId other : candidates)
      if (alike(first, other)) group.push_back(other);
    if (group.size() > 1) return group;
  }
  return {};
}

}  // namespace

bool fuse_qkv(Graph& graph) {
  bool changed = false;
  const auto count = static_cast<NodeId>(graph.nodes().size());
  for (NodeId id = 0; id < count; ++id) {
    if (graph.node(id).op != "attention") continue;
    const std::vector<ValueId> inputs = graph.node(id).inputs;
    std::vector<ValueId> candidates;
    for (int i = 0; i < 3; ++i) candidates.push_back(linear_behind(graph, inputs[i]));
    const std::vector<ValueId> group = joinable(graph, candidates);
    if (group.empty()) continue;
    const ValueId joined = join_linears(graph, group);
    int64_t begin = 0;
    for (ValueId result : group) {
      const int64_t end = begin + graph.value(result).type.dims.back().size;
      const ValueId part =
          graph.add("slice", {joined}, {{"axis", int64_t{1}}, {"begin", begin}, {"end", end}})[0];
      graph.replace_uses(result, part);
      begin = end;
    }
    changed = true;
  }
  if (changed) graph.compact();
  return changed;
}

}  // namespace brayton
