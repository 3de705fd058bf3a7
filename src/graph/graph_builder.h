// How a model family writes down its mathematics.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "ops/activation.h"

namespace brayton {

// What the checkpoint says of one tensor.
struct WeightInfo {
  DType dtype;
  Shape shape;
};

// Looks up a tensor by name; nullopt when the checkpoint has none. A missing function stands for
// dummy weights: every tensor that is not optional exists, in `dtype` and the declared shape.
using WeightLookup = std::function<std::optional<WeightInfo>(const std::string& name)>;

class GraphBuilder;

// A value with its builder, so that families read as formulas.
class Value {
 public:
  Value() = default;
  explicit operator bool() const { return builder_ != nullptr; }
  ValueId id() const { return id_; }
  const ValueType& type() const;

  friend Value operator+(Value a, Value b);  // add
  friend Value operator*(Value a, Value b);  // mul
  friend Value operator*(Value a, double factor);

 private:
  friend class GraphBuilder;
  Value(GraphBuilder* builder, ValueId id) : builder_(builder), id_(id) {}
  GraphBuilder* builder_ = nullptr;
  ValueId id_ = kNoValue;
};

// A place in the tree of weight names: w / "self_attn" / "q_proj".
class Scope {
 public:
  explicit Scope(std::string prefix = "") : prefix_(std::move(prefix)) {}
  Scope operator/(const std::string& name) const {
    return Scope(prefix_.empty() ? name : prefix_ + "." + name);
  }
  Scope operator/(int64_t index) const { return *this / std::to_string(index); }
  const std::string& name() const { return prefix_; }

 private:
  std::string prefix_;
};

struct RopeOptions {
  std::vector<double> inv_freq;  // [pairs], see models/blocks/rotary.h
  double scale = 1.0;            // YaRN's attention factor
  bool interleaved = false;
};

struct AttentionOptions {
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  double scale = 0.0;          // 0: 1 / sqrt(head_dim)
  int64_t window = 0;          // 0: none
  double softcap = 0.0;        // 0: none
  std::vector<double> slopes;  // ALiBi, one a head; empty: none
};

// Nodes stand in the order of the calls: where that matters, don't make two in one expression.
// Ops check shapes as they are called. Faults of weights (missing, wrongly shaped) are collected
// and thrown by finish(), all at once, as one Error(kInvalidModel).
class GraphBuilder {
 public:
  // `dtype`: the model's nominal activation type.
  GraphBuilder(std::string name, DType dtype, WeightLookup lookup);

  // Inputs of every decoder.
  Value token_ids();   // i32[T]
  Value positions();   // i32[T]
  Value logit_rows();  // i32[R]

  bool has_weight(const Scope& scope) const;
  Value weight(const Scope& scope, const Shape& shape);
  Value optional_weight(const Scope& scope, const Shape& shape);  // empty when absent

  Value embedding(Value ids, Value table);
  Value linear(Value x, Value w, Value bias = {});
  Value rms_norm(Value x, Value w, double eps);
  Value layer_norm(Value x, Value w, Value b, double eps);  // b may be empty
  Value rope(Value x, Value positions, int64_t head_dim, const RopeOptions& options);
  Value attention(Value q, Value k, Value v, const AttentionOptions& options);
  Value activation(Value x, ActivationKind kind);
  Value gather_rows(Value x, Value rows);

  // Rearrangements; of weights they happen at load.
  Value slice(Value x, int64_t axis, int64_t begin, int64_t end);
  Value concat(const std::vector<Value>& xs, int64_t axis);
  Value reshape(Value x, const Shape& shape);
  Value transpose(Value x);  // of a matrix
  Value add_scalar(Value x, double value);

  Value binary(const std::string& op, Value a, Value b);
  Value scale(Value a, double factor);

  // Names the result and hands the graph over.
  Graph finish(Value logits);

 private:
  friend class Value;
  // A leaf that is made once; `key` tells it from the others of its op.
  Value leaf(const std::string& op, const std::string& key, const ValueType& type,
             Attributes attributes);
  Value input(const std::string& name, char length);
  Value constant(const std::vector<double>& values);
  Value one(const std::string& op, std::vector<Value> inputs, Attributes attributes = {});
  // `one`, with the name of the weight in the message of an error.
  Value rearrange(const std::string& op, const std::vector<Value>& inputs, Attributes attributes);
  std::string weight_of(Value value) const;

  Graph graph_;
  DType dtype_;
  WeightLookup lookup_;
  std::vector<std::string> faults_;
  int64_t attentions_ = 0;
  std::map<std::string, ValueId> leaves_;  // by op and key
};

}  // namespace brayton
