// What the graph knows of each op: arity and the types of its results.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ops/attributes.h"
#include "ops/value_type.h"

namespace brayton {

// In the order of Attribute's alternatives.
enum class AttributeKind { kBool, kInt, kDouble, kString, kInts, kDoubles };

// An attribute that every node of the op has; there are no others.
struct AttributeSchema {
  std::string name;
  AttributeKind kind;
};

struct OpSchema {
  std::string name;
  int min_inputs;
  int max_inputs;  // inputs beyond the minimum may be absent (kNoValue)
  std::vector<AttributeSchema> attributes;
  // Input types (nullptr where absent) and attributes -> output types. Throws Error. Empty for the
  // leaves, which carry their own type.
  std::function<std::vector<ValueType>(const std::vector<const ValueType*>&, const Attributes&)>
      infer;
  int in_place_input = -1;  // the input whose memory the first output may take over
  bool load_only = false;   // a rearrangement of weights, evaluated when the model is loaded
  bool view = false;        // of an activation, the output is a strided view; nothing runs

  bool is_leaf() const { return !infer; }
  // Types of the results; checks arity and attributes first. Throws Error(kInvalidArgument) that
  // begins with the op: "[rms_norm] w.D must be 4096, got 4095".
  std::vector<ValueType> infer_types(const std::vector<const ValueType*>& inputs,
                                     const Attributes& values) const;
  void check_attributes(const Attributes& values) const;
};

// A result is load-time (known once the weights are) when its type has no run-time dimension.

// Throws Error(kInvalidModel) naming the op when there is none of that name.
const OpSchema& op_schema(const std::string& op);
const std::vector<OpSchema>& all_op_schemas();

}  // namespace brayton
