#include "graph/op_schema.h"

#include <array>
#include <map>

#include "core/checked_math.h"
#include "core/format.h"
#include "ops/activation.h"

namespace brayton {
namespace {

using Types = std::vector<const ValueType*>;
using enum AttributeKind;

constexpr std::array<std::string_view, 6> kKindNames = {"true or false",      "an integer",
                                                        "a number",           "a string",
                                                        "a list of integers", "a list of numbers"};

template <class... Args>
[[noreturn]] void misuse(fmt::format_string<Args...> text, Args&&... args) {
  throw_error(ErrorCode::kInvalidArgument, text, std::forward<Args>(args)...);
}

// Binds names to dimensions: the first use of a name decides, later ones must agree.
class Dims {
 public:
  explicit Dims(std::string op) : op_(std::move(op)) {}

  void set(const std::string& name, Dim dim) { bound_.emplace(name, dim); }
  Dim operator[](const std::string& name) const { return bound_.at(name); }

  void bind(const std::string& input, const ValueType& type,
            std::initializer_list<std::string> names) {
    if (type.rank() != static_cast<int>(names.size()))
      misuse("[{}] {} must be [{}], got {}", op_, input, fmt::join(names, ", "), type.str());
    auto dim = type.dims.begin();
    for (const std::string& name : names) {
      const auto [it, is_new] = bound_.emplace(name, *dim);
      if (!is_new && it->second != *dim)
        misuse("[{}] {}.{} must be {}, got {}", op_, input, name, it->second.str(), dim->str());
      ++dim;
    }
  }
  // Rows of floats, their number known at run time.
  void bind_activation(const std::string& input, const ValueType& type,
                       std::initializer_list<std::string> names) {
    bind(input, type, names);
    if (type.dims[0].is_constant() || !type.dims[1].is_constant())
      misuse("[{}] {} must be an activation like f32[T, 64], got {}", op_, input, type.str());
    if (type.dtype != DType::kF32 && type.dtype != DType::kF16 && type.dtype != DType::kBF16)
      misuse("[{}] {} must be of type f32, f16 or bf16, got {}", op_, input, type.str());
  }
  void bind_weight(const std::string& input, const ValueType& type,
                   std::initializer_list<std::string> names) {
    bind(input, type, names);
    if (!type.is_constant() || (!is_float(type.dtype) && !is_quantized(type.dtype)))
      misuse("[{}] {} must be a weight of a float or block type, got {}", op_, input, type.str());
  }
  void bind_ids(const std::string& input, const ValueType& type, const std::string& name) {
    bind(input, type, {name});
    if (type.dims[0].is_constant() || type.dtype != DType::kI32)
      misuse("[{}] {} must be i32 of a run-time length, got {}", op_, input, type.str());
  }

 private:
  std::string op_;
  std::map<std::string, Dim> bound_;
};

int64_t int_in(const std::string& op, const Attributes& attributes, const std::string& name,
               int64_t low, int64_t high) {
  const int64_t value = attributes.get_int(name);
  if (value < low || value > high)
    misuse("[{}] {} must be in [{}, {}], got {}", op, name, low, high, value);
  return value;
}

int64_t count(const std::string& op, const Attributes& attributes, const std::string& name) {
  return int_in(op, attributes, name, 1, 1 << 20);
}

std::vector<ValueType> infer_embedding(const Types& in, const Attributes& attributes) {
  Dims dims("embedding");
  dims.bind_ids("ids", *in[0], "T");
  dims.bind_weight("table", *in[1], {"V", "D"});
  const std::string& name = attributes.get_string("dtype");
  const std::optional<DType> dtype = dtype_from_name(name);
  if (!dtype) misuse("[embedding] dtype must be an element type, got '{}'", name);
  const ValueType result{*dtype, {dims["T"], dims["D"]}};
  dims.bind_activation("y", result, {"T", "D"});
  return {result};
}

std::vector<ValueType> infer_linear(const Types& in, const Attributes&) {
  Dims dims("linear");
  dims.bind_activation("x", *in[0], {"T", "K"});
  dims.bind_weight("w", *in[1], {"N", "K"});
  if (in[2]) dims.bind_weight("bias", *in[2], {"N"});
  return {{in[0]->dtype, {dims["T"], dims["N"]}}};
}

std::vector<ValueType> infer_norm(const std::string& op, const Types& in, bool residual) {
  Dims dims(op);
  dims.bind_activation("x", *in[0], {"T", "D"});
  if (residual) {
    dims.bind_activation("residual", *in[1], {"T", "D"});
    if (in[1]->dtype != in[0]->dtype)
      misuse("[{}] residual must be {}, got {}", op, in[0]->str(), in[1]->str());
  }
  const size_t w = residual ? 2 : 1;
  dims.bind_weight("w", *in[w], {"D"});
  if (w + 1 < in.size() && in[w + 1]) dims.bind_weight("b", *in[w + 1], {"D"});
  return std::vector<ValueType>(residual ? 2 : 1, *in[0]);
}

std::vector<ValueType> infer_rope(const Types& in, const Attributes& attributes) {
  const int64_t head_dim = count("rope", attributes, "head_dim");
  Dims dims("rope");
  dims.bind_activation("x", *in[0], {"T", "H*head_dim"});
  dims.bind_ids("positions", *in[1], "T");
  dims.bind_weight("inv_freq", *in[2], {"P"});
  if (dims["H*head_dim"].size % head_dim != 0)
    misuse("[rope] x.H*head_dim must be a multiple of head_dim {}, got {}", head_dim,
           dims["H*head_dim"].size);
  if (dims["P"].size > head_dim / 2)
    misuse("[rope] inv_freq.P must be at most head_dim / 2 = {}, got {}", head_dim / 2,
           dims["P"].size);
  return {*in[0]};
}

std::vector<ValueType> infer_attention(const Types& in, const Attributes& attributes) {
  const int64_t heads = count("attention", attributes, "heads");
  const int64_t kv_heads = count("attention", attributes, "kv_heads");
  const int64_t head_dim = count("attention", attributes, "head_dim");
  int_in("attention", attributes, "window", 0, INT64_MAX);
  int_in("attention", attributes, "layer", 0, 1 << 20);
  if (heads % kv_heads != 0)
    misuse("[attention] heads must be a multiple of kv_heads {}, got {}", kv_heads, heads);
  Dims dims("attention");
  dims.set("heads*head_dim", heads * head_dim);
  dims.set("kv_heads*head_dim", kv_heads * head_dim);
  dims.set("heads", heads);
  dims.bind_activation("q", *in[0], {"T", "heads*head_dim"});
  dims.bind_activation("k", *in[1], {"T", "kv_heads*head_dim"});
  dims.bind_activation("v", *in[2], {"T", "kv_heads*head_dim"});
  if (in[3]) dims.bind_weight("slopes", *in[3], {"heads"});
  return {*in[0]};
}

void check_kind(const std::string& op, const Attributes& attributes) {
  const std::string& kind = attributes.get_string("kind");
  if (activation_name(activation_from_name(kind)) != kind)
    misuse("[{}] kind must be '{}', got '{}'", op, activation_name(activation_from_name(kind)),
           kind);
}

std::vector<ValueType> infer_activation(const Types& in, const Attributes& attributes) {
  Dims("activation").bind_activation("x", *in[0], {"T", "D"});
  check_kind("activation", attributes);
  return {*in[0]};
}

std::vector<ValueType> infer_gated_activation(const Types& in, const Attributes& attributes) {
  Dims dims("gated_activation");
  dims.bind_activation("x", *in[0], {"T", "2F"});
  check_kind("gated_activation", attributes);
  const int64_t width = dims["2F"].size;
  if (width % 2 != 0) misuse("[gated_activation] x.2F must be even, got {}", width);
  return {{in[0]->dtype, {dims["T"], width / 2}}};
}

std::vector<ValueType> infer_binary(const std::string& op, const Types& in) {
  Dims dims(op);
  dims.bind_activation("a", *in[0], {"T", "D"});
  if (in[1]->rank() == 1) {
    dims.bind_weight("b", *in[1], {"D"});
  } else {
    dims.bind_activation("b", *in[1], {"T", "D"});
    if (in[0]->dtype != in[1]->dtype)
      misuse("[{}] b must be {}, got {}", op, in[0]->str(), in[1]->str());
  }
  return {*in[0]};
}

std::vector<ValueType> infer_scale(const Types& in, const Attributes&) {
  Dims("scale").bind_activation("a", *in[0], {"T", "D"});
  return {*in[0]};
}

std::vector<ValueType> infer_gather_rows(const Types& in, const Attributes&) {
  Dims dims("gather_rows");
  dims.bind_activation("x", *in[0], {"T", "D"});
  dims.bind_ids("rows", *in[1], "R");
  return {{in[0]->dtype, {dims["R"], dims["D"]}}};
}

void check_load_time(const std::string& op, const ValueType& type) {
  if (!type.is_constant())
    misuse("[{}] x must be a weight: this op runs when a model is loaded; got {}", op, type.str());
}

void check_plain(const std::string& op, const ValueType& type) {
  if (is_quantized(type.dtype))
    throw_error(ErrorCode::kUnsupported,
                "[{}] x must be of a plain type, got {}: rows of blocks cannot be cut", op,
                type.str());
}

// The last axis of a block type is stored in blocks that belong together.
int64_t axis_of(const std::string& op, const ValueType& type, const Attributes& attributes) {
  if (type.rank() == 0) misuse("[{}] x must have a dimension, got {}", op, type.str());
  const int64_t axis = int_in(op, attributes, "axis", 0, type.rank() - 1);
  if (axis == type.rank() - 1) check_plain(op, type);
  return axis;
}

std::vector<ValueType> infer_slice(const Types& in, const Attributes& attributes) {
  ValueType result = *in[0];
  const int64_t axis = axis_of("slice", result, attributes);
  if (!result.is_constant()) {
    Dims("slice").bind_activation("x", result, {"T", "D"});
    if (axis != 1) misuse("[slice] axis of an activation must be the last, 1, got {}", axis);
  }
  const int64_t size = result.dims[axis].size;
  const int64_t begin = int_in("slice", attributes, "begin", 0, size);
  const int64_t end = int_in("slice", attributes, "end", begin, size);
  result.dims[axis] = end - begin;
  return {result};
}

std::vector<ValueType> infer_concat(const Types& in, const Attributes& attributes) {
  ValueType result = *in[0];
  const int64_t axis = axis_of("concat", result, attributes);
  for (size_t i = 0; i < in.size(); ++i) {
    if (!in[i]) misuse("[concat] x{} must be given, but is missing", i);
    check_load_time("concat", *in[i]);
    if (i == 0) continue;
    ValueType same = *in[i];
    if (same.rank() == result.rank()) same.dims[axis] = result.dims[axis];
    if (same != result)
      misuse("[concat] x{} must be {} but for dimension {}, got {}", i, in[0]->str(), axis,
             in[i]->str());
    const auto sum = checked_add(result.dims[axis].size, in[i]->dims[axis].size);
    if (!sum) misuse("[concat] dimension {} must fit 64 bits", axis);
    result.dims[axis] = *sum;
  }
  return {result};
}

std::optional<int64_t> product(const std::vector<Dim>& dims) {
  std::optional<int64_t> product = 1;
  for (const Dim& dim : dims)
    if (product) product = checked_mul(*product, dim.size);
  return product;
}

std::vector<ValueType> infer_reshape(const Types& in, const Attributes& attributes) {
  const ValueType& x = *in[0];
  check_load_time("reshape", x);
  ValueType result{x.dtype, {}};
  for (int64_t dim : attributes.get_ints("shape")) {
    if (dim < 0) misuse("[reshape] shape must have no negative dimension, got {}", dim);
    result.dims.push_back(dim);
  }
  if (result.rank() > Shape::kMaxRank)
    misuse("[reshape] shape must have at most {} dimensions, got {}", Shape::kMaxRank,
           result.rank());
  const auto have = product(x.dims);
  if (!have || have != product(result.dims))
    misuse("[reshape] shape must have the elements of {}, got {}", x.str(), result.str());
  if (x.rank() == 0 || result.rank() == 0 || x.dims.back() != result.dims.back())
    check_plain("reshape", x);
  return {result};
}

std::vector<ValueType> infer_transpose(const Types& in, const Attributes&) {
  Dims dims("transpose");
  dims.bind("x", *in[0], {"M", "N"});
  check_load_time("transpose", *in[0]);
  check_plain("transpose", *in[0]);
  return {{in[0]->dtype, {dims["N"], dims["M"]}}};
}

std::vector<ValueType> infer_add_scalar(const Types& in, const Attributes&) {
  check_load_time("add_scalar", *in[0]);
  check_plain("add_scalar", *in[0]);
  if (!is_float(in[0]->dtype)) misuse("[add_scalar] x must be floats, got {}", in[0]->str());
  return {*in[0]};
}

std::vector<ValueType> infer_convert(const Types& in, const Attributes& attributes) {
  check_load_time("convert", *in[0]);
  const std::string& name = attributes.get_string("dtype");
  const std::optional<DType> dtype = dtype_from_name(name);
  if (!dtype) misuse("[convert] dtype must be an element type, got '{}'", name);
  return {{*dtype, in[0]->dims}};
}

// Marks the op whose first output may lie where its first input does.
OpSchema in_place(OpSchema schema) {
  schema.in_place_input = 0;
  return schema;
}

OpSchema load_only(OpSchema schema) {
  schema.load_only = true;
  return schema;
}

OpSchema view(OpSchema schema) {
  schema.view = true;
  return schema;
}

template <class Infer>
auto named(Infer infer, std::string op) {
  return [=](const Types& in, const Attributes&) { return infer(op, in); };
}

auto norm(const std::string& op, bool residual) {
  return [=](const Types& in, const Attributes&) { return infer_norm(op, in, residual); };
}

std::vector<OpSchema> make_schemas() {
  constexpr int kMany = 1 << 16;
  const AttributeSchema eps{"eps", kDouble};
  const AttributeSchema kind{"kind", kString};
  const AttributeSchema axis{"axis", kInt};
  return {
      // name, least and most inputs, attributes, types of the results
      {"input", 0, 0, {{"name", kString}}, {}},
      {"weight", 0, 0, {{"name", kString}}, {}},
      {"constant", 0, 0, {{"values", kDoubles}}, {}},
      {"embedding", 2, 2, {{"dtype", kString}}, infer_embedding},
      {"linear", 2, 3, {}, infer_linear},
      in_place({"rms_norm", 2, 2, {eps}, norm("rms_norm", false)}),
      in_place({"layer_norm", 2, 3, {eps}, norm("layer_norm", false)}),
      in_place({"add_rms_norm", 3, 3, {eps}, norm("add_rms_norm", true)}),
      in_place({"add_layer_norm", 3, 4, {eps}, norm("add_layer_norm", true)}),
      in_place({"rope",
                3,
                3,
                {{"head_dim", kInt}, {"interleaved", kBool}, {"scale", kDouble}},
                infer_rope}),
      {"attention",
       3,
       4,
       {{"heads", kInt},
        {"kv_heads", kInt},
        {"head_dim", kInt},
        {"scale", kDouble},
        {"window", kInt},
        {"softcap", kDouble},
        {"layer", kInt}},
       infer_attention},
      in_place({"activation", 1, 1, {kind}, infer_activation}),
      {"gated_activation", 1, 1, {kind}, infer_gated_activation},
      in_place({"add", 2, 2, {}, named(infer_binary, "add")}),
      in_place({"mul", 2, 2, {}, named(infer_binary, "mul")}),
      in_place({"scale", 1, 1, {{"factor", kDouble}}, infer_scale}),
      {"gather_rows", 2, 2, {}, infer_gather_rows},
      view({"slice", 1, 1, {axis, {"begin", kInt}, {"end", kInt}}, infer_slice}),
      load_only({"concat", 1, kMany, {axis}, infer_concat}),
      load_only({"reshape", 1, 1, {{"shape", kInts}}, infer_reshape}),
      load_only({"transpose", 1, 1, {}, infer_transpose}),
      load_only({"add_scalar", 1, 1, {{"value", kDouble}}, infer_add_scalar}),
      load_only({"convert", 1, 1, {{"dtype", kString}}, infer_convert}),
  };
}

// An integer serves as a number, an empty list as any list.
bool serves(const Attribute& value, AttributeKind kind) {
  const auto got = static_cast<AttributeKind>(value.index());
  return got == kind || (kind == kDouble && got == kInt) || (kind == kDoubles && got == kInts);
}

}  // namespace

void OpSchema::check_attributes(const Attributes& values) const {
  for (const AttributeSchema& row : attributes) {
    const auto it = values.map().find(row.name);
    if (it == values.map().end()) misuse("[{}] attribute '{}' is missing", name, row.name);
    if (!serves(it->second, row.kind))
      misuse("[{}] attribute '{}' must be {}, got {}", name, row.name,
             kKindNames[static_cast<size_t>(row.kind)], kKindNames[it->second.index()]);
  }
  if (values.map().size() == attributes.size()) return;
  for (const auto& [given, value] : values.map()) {
    bool known = false;
    for (const AttributeSchema& row : attributes) known |= row.name == given;
    if (!known) misuse("[{}] has no attribute '{}'", name, given);
  }
}

std::vector<ValueType> OpSchema::infer_types(const std::vector<const ValueType*>& inputs,
                                             const Attributes& values) const {
  if (is_leaf()) misuse("[{}] is a leaf: its type is given, not inferred", name);
  const int given = static_cast<int>(inputs.size());
  if (given < min_inputs || given > max_inputs)
    misuse("[{}] must have {} to {} inputs, got {}", name, min_inputs, max_inputs, given);
  for (int i = 0; i < min_inputs; ++i)
    if (!inputs[i]) misuse("[{}] input {} must be given, but is missing", name, i);
  check_attributes(values);
  if (max_inputs > min_inputs + 1) return infer(inputs, values);  // concat: as many as there are
  std::vector<const ValueType*> padded = inputs;
  padded.resize(max_inputs);
  return infer(padded, values);
}

const std::vector<OpSchema>& all_op_schemas() {
  static const std::vector<OpSchema> schemas = make_schemas();
  return schemas;
}

const OpSchema& op_schema(const std::string& op) {
  for (const OpSchema& schema : all_op_schemas())
    if (schema.name == op) return schema;
  throw_error(ErrorCode::kInvalidModel, "[graph] there is no op called '{}'", op);
}

}  // namespace brayton
