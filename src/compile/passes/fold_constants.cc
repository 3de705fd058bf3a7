// fold_constants: arithmetic on constants is done, rearrangements that undo or follow one another
// become one, and those that do nothing go.
//
//   %1 = constant {values=[1.0, 2.0]}              %1 = constant {values=[1.5, 2.5]}
//   %2 = add_scalar(%1) {value=0.5}          ->
//
//   %3 = reshape(%1) {shape=[2, 2, 4]}             %4 = reshape(%1) {shape=[8, 2]}
//   %4 = reshape(%3) {shape=[8, 2]}          ->
//
//   %5 = slice(%4) {axis=1, begin=2, end=8}        %6 = slice(%4) {axis=1, begin=3, end=5}
//   %6 = slice(%5) {axis=1, begin=1, end=3}  ->
//
//   Also: transpose of transpose, add_scalar of add_scalar, scale of scale; slice of all, reshape
//   to the same shape, concat of one, add_scalar of 0, scale by 1.
#include "compile/passes/passes.h"

namespace brayton {
namespace {

class Folder {
 public:
  explicit Folder(Graph& graph) : graph_(graph) {}

  bool run() {
    bool changed = false;
    for (NodeId id = 0; id < static_cast<NodeId>(graph_.nodes().size()); ++id) {
      const Node node = graph_.node(id);
      if (node.inputs.empty() || node.outputs.size() != 1) continue;
      const ValueId folded = fold(node);
      if (folded == kNoValue) continue;
      graph_.replace_uses(node.outputs[0], folded);
      changed = true;
    }
    if (changed) graph_.compact();
    return changed;
  }

 private:
  // The value that the node's result can be replaced by.
  ValueId fold(const Node& node) {
    if (does_nothing(node)) return node.inputs[0];
    if (const ValueId constant = evaluate(node); constant != kNoValue) return constant;
    const Node before = graph_.producer(node.inputs[0]);
    if (before.op != node.op || before.inputs.empty()) return kNoValue;
    return merge(before, node);
  }

  bool does_nothing(const Node& node) const {
    const bool same_type = graph_.value(node.inputs[0]).type == graph_.value(node.outputs[0]).type;
    if (node.op == "slice" || node.op == "reshape" || node.op == "convert") return same_type;
    if (node.op == "concat") return node.inputs.size() == 1;
    if (node.op == "add_scalar") return node.attributes.get_double("value") == 0.0;
    if (node.op == "scale") return node.attributes.get_double("factor") == 1.0;
    return false;
  }

  // Of `node` right after `before`, both of one op.
  ValueId merge(const Node& before, const Node& node) {
    const ValueId x = before.inputs[0];
    const Attributes &first = before.attributes, &second = node.attributes;
    if (node.op == "transpose") return x;
    if (node.op == "reshape") return graph_.add("reshape", {x}, second)[0];
    if (node.op == "add_scalar")
      return graph_.add("add_scalar", {x},
                        {{"value", first.get_double("value") + second.get_double("value")}})[0];
    if (node.op == "scale")
      return graph_.add("scale", {x},
                        {{"factor", first.get_double("factor") * second.get_double("factor")}})[0];
    if (node.op == "slice" && first.get_int("axis") == second.get_int("axis")) {
      const int64_t begin = first.get_int("begin");
      return graph_.add("slice", {x},
                        {{"axis", first.get_int("axis")},
                         {"begin", begin + second.get_int("begin")},
                         {"end", begin + second.get_int("end")}})[0];
    }
    return kNoValue;
  }

  ValueId evaluate(const Node& node) {
    std::vector<double> values;
    for (ValueId input : node.inputs) {
      if (input == kNoValue || graph_.producer(input).op != "constant") return kNoValue;
      const std::vector<double> more = graph_.producer(input).attributes.get_doubles("values");
      values.insert(values.end(), more.begin(), more.end());
    }
    if (node.op == "add_scalar") {
      for (double& value : values) value += node.attributes.get_double("value");
    } else if (node.op == "slice") {
      values = {values.begin() + node.attributes.get_int("begin"),
                values.begin() + node.attributes.get_int("end")};
    } else if (node.op != "concat") {
      return kNoValue;
    }
    const ValueType type{DType::kF32, {static_cast<int64_t>(values.size())}};
    return graph_.add_leaf("constant", type, {{"values", values}});
  }

  Graph& graph_;
};

}  // namespace

bool fold_constants(Graph& graph) { return Folder(graph).run(); }

}  // namespace brayton
