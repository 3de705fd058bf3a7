#include "graph/graph.h"

#include <algorithm>

#include "core/check.h"
#include "graph/op_schema.h"

namespace brayton {
namespace {

void check_leaf(const std::string& op, const ValueType& type, const Attributes& attributes) {
  const OpSchema& schema = op_schema(op);
  if (!schema.is_leaf())
    throw_error(ErrorCode::kInvalidArgument, "[{}] is no leaf: it has inputs", op);
  schema.check_attributes(attributes);
  if (op == "weight" && !type.is_constant())
    throw_error(ErrorCode::kInvalidArgument, "[weight] '{}' must have constant dimensions, got {}",
                attributes.get_string("name"), type.str());
  if (op != "constant") return;
  const int64_t numbers = static_cast<int64_t>(attributes.get_doubles("values").size());
  if (type != ValueType{DType::kF32, {numbers}})
    throw_error(ErrorCode::kInvalidArgument, "[constant] of {} values must be f32[{}], got {}",
                numbers, numbers, type.str());
}

}  // namespace

std::vector<ValueId> Graph::add(const std::string& op, std::vector<ValueId> inputs,
                                Attributes attributes) {
  while (!inputs.empty() && inputs.back() == kNoValue) inputs.pop_back();
  std::vector<const ValueType*> types;
  for (ValueId id : inputs) {
    if (id != kNoValue && (id < 0 || id >= value_count()))
      throw_error(ErrorCode::kInvalidArgument, "[{}] input must be one of {} values, got %{}", op,
                  value_count(), id);
    types.push_back(id == kNoValue ? nullptr : &values_[id].type);
  }
  std::vector<ValueType> results = op_schema(op).infer_types(types, attributes);

  Node node{op, std::move(inputs), {}, std::move(attributes)};
  const NodeId producer = static_cast<NodeId>(nodes_.size());
  for (ValueType& type : results) {
    node.outputs.push_back(static_cast<ValueId>(values_.size()));
    values_.push_back({std::move(type), producer, static_cast<int>(node.outputs.size()) - 1});
  }
  nodes_.push_back(std::move(node));
  return nodes_.back().outputs;
}

ValueId Graph::add_leaf(const std::string& op, ValueType type, Attributes attributes) {
  check_leaf(op, type, attributes);
  const ValueId id = static_cast<ValueId>(values_.size());
  values_.push_back({std::move(type), static_cast<NodeId>(nodes_.size()), 0});
  nodes_.push_back({op, {}, {id}, std::move(attributes)});
  return id;
}

void Graph::set_output(const std::string& name, ValueId value) {
  BRAYTON_CHECK(value >= 0 && value < value_count());
  for (auto& [known, id] : outputs_) {
    if (known != name) continue;
    id = value;
    return;
  }
  outputs_.emplace_back(name, value);
}

void Graph::replace_uses(ValueId from, ValueId to) {
  BRAYTON_CHECK(from >= 0 && from < value_count() && to >= 0 && to < value_count());
  for (Node& node : nodes_) std::ranges::replace(node.inputs, from, to);
  for (auto& output : outputs_)
    if (output.second == from) output.second = to;
}

std::vector<NodeId> Graph::users(ValueId value) const {
  std::vector<NodeId> result;
  for (size_t i = 0; i < nodes_.size(); ++i)
    if (std::ranges::find(nodes_[i].inputs, value) != nodes_[i].inputs.end())
      result.push_back(static_cast<NodeId>(i));
  return result;
}

namespace {

// Live nodes in an order that puts producers first and otherwise keeps the order there was: a depth
// first walk of the nodes in their present order.
class Ordering {
 public:
  Ordering(const Graph& graph) : graph_(graph), state_(graph.nodes().size(), kDead) {
    for (const auto& [name, value] : graph.outputs()) mark(graph.value(value).producer);
    for (size_t i = 0; i < state_.size(); ++i)
      if (graph.nodes()[i].op == "input") mark(static_cast<NodeId>(i));
    for (size_t i = 0; i < state_.size(); ++i) place(static_cast<NodeId>(i));
  }
  const std::vector<NodeId>& order() const { return order_; }

 private:
  enum State : uint8_t { kDead, kLive, kOpen, kPlaced };

  void mark(NodeId root) {
    std::vector<NodeId> stack = {root};
    while (!stack.empty()) {
      const NodeId id = stack.back();
      stack.pop_back();
      if (state_[id] != kDead) continue;
      state_[id] = kLive;
      for (ValueId input : graph_.node(id).inputs)
        if (input != kNoValue) stack.push_back(graph_.value(input).producer);
    }
  }

  void place(NodeId root) {
    if (state_[root] != kLive) return;
    std::vector<NodeId> stack = {root};
    while (!stack.empty()) {
      const NodeId id = stack.back();
      NodeId missing = -1;
      for (ValueId input : graph_.node(id).inputs) {
        if (input == kNoValue) continue;
        const NodeId producer = graph_.value(input).producer;
        if (state_[producer] == kPlaced) continue;
        missing = producer;
        break;
      }
      if (missing >= 0) {
        BRAYTON_CHECK(state_[missing] == kLive);  // open: the graph has a cycle
        state_[id] = kOpen;
        stack.push_back(missing);
        continue;
      }
      state_[id] = kPlaced;
      order_.push_back(id);
      stack.pop_back();
    }
  }

  const Graph& graph_;
  std::vector<State> state_;
  std::vector<NodeId> order_;
};

}  // namespace

int64_t Graph::compact() {
  const Ordering ordering(*this);
  std::vector<ValueId> renamed(values_.size(), kNoValue);
  std::vector<Node> nodes;
  std::vector<ValueInfo> values;
  nodes.reserve(ordering.order().size());
  for (NodeId id : ordering.order()) {
    Node node = std::move(nodes_[id]);
    for (ValueId& input : node.inputs)
      if (input != kNoValue) input = renamed[input];
    for (ValueId& output : node.outputs) {
      ValueInfo info = std::move(values_[output]);
      info.producer = static_cast<NodeId>(nodes.size());
      renamed[output] = static_cast<ValueId>(values.size());
      output = renamed[output];
      values.push_back(std::move(info));
    }
    nodes.push_back(std::move(node));
  }
  for (auto& output : outputs_) output.second = renamed[output.second];
  const int64_t dropped = static_cast<int64_t>(nodes_.size() - nodes.size());
  nodes_ = std::move(nodes);
  values_ = std::move(values);
  return dropped;
}

void Graph::verify() const {
  std::vector<bool> defined(values_.size(), false);
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const Node& node = nodes_[i];
    const auto broken = [&](const std::string& fault) {
      throw_error(ErrorCode::kInternal, "[graph] node {} ({}) {}; this is a bug", i, node.op,
                  fault);
    };
    std::vector<const ValueType*> inputs;
    for (ValueId id : node.inputs) {
      if (id != kNoValue && (id < 0 || id >= value_count()))
        broken(format("reads %{}, which is no value", id));
      if (id != kNoValue && !defined[id]) broken(format("reads %{} before it is made", id));
      inputs.push_back(id == kNoValue ? nullptr : &values_[id].type);
    }
    std::vector<ValueType> outputs;
    for (size_t j = 0; j < node.outputs.size(); ++j) {
      const ValueId id = node.outputs[j];
      if (id < 0 || id >= value_count()) broken(format("makes %{}, which is no value", id));
      const ValueInfo& info = values_[id];
      if (info.producer != static_cast<NodeId>(i) || info.output != static_cast<int>(j))
        broken(format("makes %{}, which says it is output {} of node {}", id, info.output,
                      info.producer));
      defined[id] = true;
      outputs.push_back(info.type);
    }
    try {
      const OpSchema& schema = op_schema(node.op);
      if (schema.is_leaf()) {
        if (outputs.size() != 1 || !inputs.empty()) broken("must have no input and one output");
        check_leaf(node.op, outputs[0], node.attributes);
      } else if (schema.infer_types(inputs, node.attributes) != outputs) {
        broken("has other output types than its schema infers");
      }
    } catch (const Error& fault) {
      if (fault.code() == ErrorCode::kInternal) throw;
      broken(format("is invalid: {}", fault.what()));
    }
  }
  for (const auto& [name, id] : outputs_)
    if (id < 0 || id >= value_count() || !defined[id])
      throw_error(ErrorCode::kInternal, "[graph] output '{}' is no value, %{}; this is a bug", name,
                  id);
}

}  // namespace brayton
