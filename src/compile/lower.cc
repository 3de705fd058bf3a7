#include "compile/lower.h"

#include <algorithm>

#include "core/check.h"
#include "graph/op_schema.h"

namespace brayton {
namespace {

using Kind = PlanValue::Kind;

// Where a value's columns lie: in `base`, which is no slice.
struct Columns {
  ValueId base;
  int64_t begin, end;
  bool overlap(const Columns& other) const {
    return base == other.base && begin < other.end && other.begin < end;
  }
};

class Lowering {
 public:
  explicit Lowering(const Graph& graph) : graph_(graph), ids_(graph.value_count(), -1) {}

  Plan run() {
    for (NodeId id = 0; id < static_cast<NodeId>(graph_.nodes().size()); ++id) lower_node(id);
    check_attentions();
    for (const auto& [name, value] : graph_.outputs())
      if (name == "logits") plan_.logits = ids_[value];
    if (plan_.logits < 0 || plan_.values[plan_.logits].kind != Kind::kActivation)
      throw_error(ErrorCode::kInvalidModel, "[lower] output 'logits' must be the result of an op");
    plan_.dtype = plan_.values[plan_.logits].type.dtype;
    check(plan_, "lower");
    return std::move(plan_);
  }

 private:
  PlanValueId add_value(ValueId value, Kind kind) {
    PlanValue result;
    result.kind = kind;
    result.type = graph_.value(value).type;
    plan_.values.push_back(std::move(result));
    return ids_[value] = static_cast<PlanValueId>(plan_.values.size() - 1);
  }

  PlanValueId add_view(ValueId value, const Columns& columns) {
    const PlanValueId id = add_value(value, Kind::kView);
    plan_.values[id].base = ids_[columns.base];
    plan_.values[id].begin = columns.begin;
    return id;
  }

  // Follows slices of activations to the value they cut.
  Columns columns_of(ValueId value) const {
    Columns columns{value, 0, graph_.value(value).type.dims.back().size};
    while (is_view(graph_.producer(columns.base))) {
      const Node& slice = graph_.producer(columns.base);
      const int64_t begin = slice.attributes.get_int("begin");
      columns = {slice.inputs[0], columns.begin + begin, columns.end + begin};
    }
    return columns;
  }

  bool is_view(const Node& node) const { return op_schema(node.op).view && !is_load_time(node); }

  bool is_load_time(const Node& node) const {
    return graph_.value(node.outputs[0]).type.is_constant();
  }

  void lower_node(NodeId id) {
    const Node& node = graph_.node(id);
    if (node.op == "input" || node.op == "weight" || node.op == "constant") {
      lower_leaf(node);
    } else if (is_load_time(node)) {
      add_value(node.outputs[0], Kind::kLoaded);
      plan_.load.push_back(instruction(node));
    } else if (is_view(node)) {
      add_view(node.outputs[0], columns_of(node.outputs[0]));
    } else {
      if (writes_in_place(id))
        add_view(node.outputs[0], columns_of(node.inputs[0]));
      else
        for (ValueId output : node.outputs) add_value(output, Kind::kActivation);
      plan_.steps.push_back(instruction(node));
    }
  }

  void lower_leaf(const Node& node) {
    const Kind kind = node.op == "input"    ? Kind::kInput
                      : node.op == "weight" ? Kind::kWeight
                                            : Kind::kConstant;
    PlanValue& value = plan_.values[add_value(node.outputs[0], kind)];
    if (kind != Kind::kConstant) {
      value.name = node.attributes.get_string("name");
      return;
    }
    for (double number : node.attributes.get_doubles("values"))
      value.numbers.push_back(static_cast<float>(number));
  }

  Instruction instruction(const Node& node) const {
    Instruction result{node.op, "", {}, {}, node.attributes};
    for (ValueId input : node.inputs) result.inputs.push_back(input == kNoValue ? -1 : ids_[input]);
    for (ValueId output : node.outputs) result.outputs.push_back(ids_[output]);
    return result;
  }

  // Rope turns columns of another value where they lie when nothing reads them as they were,
  // neither itself nor through another slice, and nothing cuts the result again.
  bool writes_in_place(NodeId id) const {
    const Node& node = graph_.node(id);
    if (node.op != "rope" || !is_view(graph_.producer(node.inputs[0]))) return false;
    const Columns columns = columns_of(node.inputs[0]);
    if (plan_.values[ids_[columns.base]].kind != Kind::kActivation) return false;
    for (const auto& [name, value] : graph_.outputs())
      if (is_activation(value) && columns_of(value).overlap(columns)) return false;
    for (NodeId user : graph_.users(node.outputs[0]))
      if (is_view(graph_.node(user))) return false;
    for (NodeId later = id + 1; later < static_cast<NodeId>(graph_.nodes().size()); ++later) {
      const Node& reader = graph_.node(later);
      if (is_view(reader)) continue;  // what reads its result is looked at instead
      for (ValueId input : reader.inputs)
        if (is_activation(input) && columns_of(input).overlap(columns)) return false;
    }
    return true;
  }

  bool is_activation(ValueId value) const {
    return value != kNoValue && !graph_.value(value).type.is_constant() &&
           graph_.producer(value).op != "input";
  }

  void check_attentions() {
    std::vector<bool> layers;
    for (const Instruction& step : plan_.steps) {
      if (step.op != "attention") continue;
      const int64_t kv_heads = step.attributes.get_int("kv_heads");
      const int64_t head_dim = step.attributes.get_int("head_dim");
      if (plan_.attentions++ == 0) {
        plan_.kv_heads = kv_heads;
        plan_.head_dim = head_dim;
      }
      if (kv_heads != plan_.kv_heads || head_dim != plan_.head_dim)
        throw_error(ErrorCode::kUnsupported,
                    "[lower] every attention must have {} key heads of {}, got {} of {}",
                    plan_.kv_heads, plan_.head_dim, kv_heads, head_dim);
      layers.push_back(false);
    }
    for (const Instruction& step : plan_.steps) {
      if (step.op != "attention") continue;
      const int64_t layer = step.attributes.get_int("layer");
      if (layer < 0 || layer >= plan_.attentions || layers[layer])
        throw_error(ErrorCode::kInvalidModel,
                    "[lower] attention layers must be numbered 0 to {}, each once, got {}",
                    plan_.attentions - 1, layer);
      layers[layer] = true;
    }
  }

  const Graph& graph_;
  Plan plan_;
  std::vector<PlanValueId> ids_;  // by graph value
};

}  // namespace

Plan lower(const Graph& graph) { return Lowering(graph).run(); }

}  // namespace brayton
