// What the graph knows of each op: arity and the types of its results.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ops/attributes.h"
#include "ops/value_type.h"

namespace brayton {

struct OpSchema {
  std::string name;
  int min_inputs;
  int max_inputs;  // inputs beyond the minimum may be absent (kNoValue)
  // Input types (nullptr where absent) and attributes -> output types. Throws Error.
  std::function<std::vector<ValueType>(const std::vector<const ValueType*>&, const Attributes&)>
      infer;
  int in_place_input = -1;  // the input whose memory the first output may take over
  bool load_only = false;   // a rearrangement of weights, evaluated when the model is loaded
  bool view = false;        // the output is a strided view of input 0; nothing runs
};

// Throws Error(kInvalidModel) naming the op when there is none of that name.
const OpSchema& op_schema(const std::string& op);
const std::vector<OpSchema>& all_op_schemas();

}  // namespace brayton
