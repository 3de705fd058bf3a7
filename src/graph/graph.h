// The graph: a model's mathematics as nodes over typed values, in execution order.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ops/attributes.h"
#include "ops/value_type.h"

namespace brayton {

using ValueId = int32_t;
using NodeId = int32_t;
inline constexpr ValueId kNoValue = -1;  // an optional input that is absent

struct ValueInfo {
  ValueType type;
  NodeId producer = -1;
  int output = 0;  // which of the producer's outputs
};

// One application of an op. The ops are the rows of op_schema.cc.
//   "input"  {name}    "weight" {name}    "constant" {values}    are the leaves.
struct Node {
  std::string op;
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;
  Attributes attributes;
};

// Nodes are in topological order: a node's inputs come from earlier nodes. Passes edit `nodes` and
// keep that; `compact()` drops what became unused and renumbers.
class Graph {
 public:
  explicit Graph(std::string name = "model") : name_(std::move(name)) {}

  const std::string& name() const { return name_; }
  const std::vector<Node>& nodes() const { return nodes_; }
  const Node& node(NodeId id) const { return nodes_.at(id); }
  Node& node(NodeId id) { return nodes_.at(id); }
  const ValueInfo& value(ValueId id) const { return values_.at(id); }
  int64_t value_count() const { return static_cast<int64_t>(values_.size()); }
  const Node& producer(ValueId id) const { return nodes_.at(values_.at(id).producer); }

  // Appends a node; checks arity and infers the output types with the op's schema row.
  // Absent inputs at the end are dropped. Throws Error(kInvalidArgument)
  // "[rms_norm] w.D must be 4096, got 4095".
  std::vector<ValueId> add(const std::string& op, std::vector<ValueId> inputs,
                           Attributes attributes = {});
  // Leaves carry their own type.
  ValueId add_leaf(const std::string& op, ValueType type, Attributes attributes);

  void set_output(const std::string& name, ValueId value);
  const std::vector<std::pair<std::string, ValueId>>& outputs() const { return outputs_; }

  // --- for passes -------------------------------------------------------------------------
  // Every use of `from`, in nodes and outputs, becomes `to`.
  void replace_uses(ValueId from, ValueId to);
  // Nodes that read `value`, in order.
  std::vector<NodeId> users(ValueId value) const;
  // Puts nodes back into topological order (stable), drops nodes that no output needs, renumbers.
  // Inputs stay. Returns how many nodes went.
  int64_t compact();

  // Throws Error(kInternal) naming the node that breaks an invariant: order, ids, types as
  // inferred.
  void verify() const;

 private:
  std::string name_;
  std::vector<Node> nodes_;
  std::vector<ValueInfo> values_;
  std::vector<std::pair<std::string, ValueId>> outputs_;
};

// The text form, one node a line; parse_graph(print(g)) prints the same.
//   graph llama {
//     %0 = input {name="token_ids"} : i32[T]
//     %1 = weight {name="model.embed_tokens.weight"} : bf16[8192, 128]
//     %2 = embedding(%0, %1) : f32[T, 128]
//     return logits=%2
//   }
std::string print(const Graph& graph);
Graph parse_graph(const std::string& text);  // throws Error(kInvalidModel) with the line

}  // namespace brayton
