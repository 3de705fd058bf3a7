#include "graph/graph_builder.h"

#include <cmath>

#include "core/check.h"

namespace brayton {
namespace {

constexpr size_t kMostFaultsShown = 100;

ValueType constant_type(DType dtype, const Shape& shape) {
  return {dtype, std::vector<Dim>(shape.begin(), shape.end())};
}

std::vector<int64_t> to_list(const Shape& shape) { return {shape.begin(), shape.end()}; }

}  // namespace

const ValueType& Value::type() const {
  BRAYTON_CHECK(builder_ != nullptr);
  return builder_->graph_.value(id_).type;
}

Value operator+(Value a, Value b) {
  BRAYTON_CHECK(a.builder_ != nullptr);
  return a.builder_->binary("add", a, b);
}

Value operator*(Value a, Value b) {
  BRAYTON_CHECK(a.builder_ != nullptr);
  return a.builder_->binary("mul", a, b);
}

Value operator*(Value a, double factor) {
  BRAYTON_CHECK(a.builder_ != nullptr);
  return a.builder_->scale(a, factor);
}

GraphBuilder::GraphBuilder(std::string name, DType dtype, WeightLookup lookup)
    : graph_(std::move(name)), dtype_(dtype), lookup_(std::move(lookup)) {}

Value GraphBuilder::leaf(const std::string& op, const std::string& key, const ValueType& type,
                         Attributes attributes) {
  const auto [it, is_new] = leaves_.emplace(op + ":" + key, kNoValue);
  if (is_new) it->second = graph_.add_leaf(op, type, std::move(attributes));
  BRAYTON_CHECK(graph_.value(it->second).type == type);
  return {this, it->second};
}

Value GraphBuilder::input(const std::string& name, char length) {
  return leaf("input", name, {DType::kI32, {Dim::of(length)}}, {{"name", name}});
}

Value GraphBuilder::token_ids() { return input("token_ids", 'T'); }
Value GraphBuilder::positions() { return input("positions", 'T'); }
Value GraphBuilder::logit_rows() { return input("logit_rows", 'R'); }

Value GraphBuilder::constant(const std::vector<double>& values) {
  std::string key(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(double));
  const int64_t length = static_cast<int64_t>(values.size());
  return leaf("constant", key, {DType::kF32, {length}}, {{"values", values}});
}

bool GraphBuilder::has_weight(const Scope& scope) const {
  return !lookup_ || lookup_(scope.name()).has_value();
}

Value GraphBuilder::weight(const Scope& scope, const Shape& shape) {
  const std::string& name = scope.name();
  DType dtype = dtype_;
  if (lookup_ && !leaves_.contains("weight:" + name)) {
    const std::optional<WeightInfo> info = lookup_(name);
    if (!info)
      faults_.push_back(format("'{}' must be {}, but is missing", name, shape.str()));
    else if (info->shape != shape)
      faults_.push_back(format("'{}' must be {}, got {}", name, shape.str(), info->shape.str()));
    else if (!is_float(info->dtype) && !is_quantized(info->dtype))
      faults_.push_back(
          format("'{}' must be of a float or block type, got {}", name, dtype_name(info->dtype)));
    else
      dtype = info->dtype;
  } else if (lookup_) {
    dtype = graph_.value(leaves_.at("weight:" + name)).type.dtype;
  }
  return leaf("weight", name, constant_type(dtype, shape), {{"name", name}});
}

Value GraphBuilder::optional_weight(const Scope& scope, const Shape& shape) {
  return lookup_ && has_weight(scope) ? weight(scope, shape) : Value();
}

Value GraphBuilder::one(const std::string& op, std::vector<Value> inputs, Attributes attributes) {
  std::vector<ValueId> ids;
  for (const Value& value : inputs) {
    BRAYTON_CHECK(value.builder_ == nullptr || value.builder_ == this);
    ids.push_back(value.id_);
  }
  return {this, graph_.add(op, std::move(ids), std::move(attributes)).at(0)};
}

Value GraphBuilder::rearrange(const std::string& op, const std::vector<Value>& inputs,
                              Attributes attributes) {
  try {
    return one(op, inputs, std::move(attributes));
  } catch (const Error& fault) {
    for (const Value& value : inputs) {
      const std::string name = weight_of(value);
      if (name.empty()) continue;
      throw Error(fault.code(), format("{}; of weight '{}'", fault.what(), name));
    }
    throw;
  }
}

std::string GraphBuilder::weight_of(Value value) const {
  ValueId id = value.id_;
  while (id != kNoValue) {
    const Node& node = graph_.producer(id);
    if (node.op == "weight") return node.attributes.get_string("name");
    id = node.inputs.empty() ? kNoValue : node.inputs[0];
  }
  return "";
}

Value GraphBuilder::embedding(Value ids, Value table) {
  return one("embedding", {ids, table}, {{"dtype", std::string(dtype_name(dtype_))}});
}

Value GraphBuilder::linear(Value x, Value w, Value bias) { return one("linear", {x, w, bias}); }

Value GraphBuilder::rms_norm(Value x, Value w, double eps) {
  return one("rms_norm", {x, w}, {{"eps", eps}});
}

Value GraphBuilder::layer_norm(Value x, Value w, Value b, double eps) {
  return one("layer_norm", {x, w, b}, {{"eps", eps}});
}

Value GraphBuilder::rope(Value x, Value positions, int64_t head_dim, const RopeOptions& options) {
  return one(
      "rope", {x, positions, constant(options.inv_freq)},
      {{"head_dim", head_dim}, {"interleaved", options.interleaved}, {"scale", options.scale}});
}

Value GraphBuilder::attention(Value q, Value k, Value v, const AttentionOptions& options) {
  const double scale =
      options.scale != 0.0 ? options.scale : 1.0 / std::sqrt(static_cast<double>(options.head_dim));
  const Value slopes = options.slopes.empty() ? Value() : constant(options.slopes);
  return one("attention", {q, k, v, slopes},
             {{"heads", options.heads},
              {"kv_heads", options.kv_heads},
              {"head_dim", options.head_dim},
              {"scale", scale},
              {"window", options.window},
              {"softcap", options.softcap},
              {"layer", attentions_++}});
}

Value GraphBuilder::activation(Value x, ActivationKind kind) {
  return one("activation", {x}, {{"kind", std::string(activation_name(kind))}});
}

Value GraphBuilder::gather_rows(Value x, Value rows) { return one("gather_rows", {x, rows}); }

Value GraphBuilder::slice(Value x, int64_t axis, int64_t begin, int64_t end) {
  return rearrange("slice", {x}, {{"axis", axis}, {"begin", begin}, {"end", end}});
}

Value GraphBuilder::concat(const std::vector<Value>& xs, int64_t axis) {
  return rearrange("concat", xs, {{"axis", axis}});
}

Value GraphBuilder::reshape(Value x, const Shape& shape) {
  return rearrange("reshape", {x}, {{"shape", to_list(shape)}});
}

Value GraphBuilder::transpose(Value x) { return rearrange("transpose", {x}, {}); }

Value GraphBuilder::add_scalar(Value x, double value) {
  return rearrange("add_scalar", {x}, {{"value", value}});
}

Value GraphBuilder::binary(const std::string& op, Value a, Value b) { return one(op, {a, b}); }

Value GraphBuilder::scale(Value a, double factor) {
  return one("scale", {a}, {{"factor", factor}});
}

Graph GraphBuilder::finish(Value logits) {
  if (!faults_.empty()) {
    std::string text =
        format("[{}] {} tensor{} of the checkpoint must fit its configuration:", graph_.name(),
               faults_.size(), faults_.size() == 1 ? "" : "s");
    for (size_t i = 0; i < std::min(faults_.size(), kMostFaultsShown); ++i)
      text += "\n  " + faults_[i];
    if (faults_.size() > kMostFaultsShown)
      text += format("\n  and {} more", faults_.size() - kMostFaultsShown);
    throw Error(ErrorCode::kInvalidModel, text);
  }
  graph_.set_output("logits", logits.id());
  graph_.compact();
  graph_.verify();
  return std::move(graph_);
}

}  // namespace brayton
