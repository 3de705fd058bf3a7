// The plan: what a step executes and where its values lie. Made by compile/, kept in the engine
// file, carried out by program/. Independent of any device and of the largest step: arena.h lays
// the activations out when both are known.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/json.h"
#include "ops/attributes.h"
#include "ops/value_type.h"

namespace brayton {

using PlanValueId = int32_t;

// Values have one definition: an instruction that lists them as output, or for leaves and for views
// that no instruction writes, their existence. A view that is an output is written in place, into
// the columns of its base; from then on, nothing reads those columns by a value defined before.
struct PlanValue {
  enum class Kind : uint8_t {
    kInput,       // written by the step: token_ids, positions, logit_rows
    kWeight,      // a tensor of the checkpoint, by name
    kConstant,    // f32 numbers in the plan
    kLoaded,      // result of a load instruction
    kActivation,  // lives in the arena
    kView,        // columns [begin, begin + last dimension) of an activation
  };
  Kind kind = Kind::kActivation;
  ValueType type;
  std::string name;            // kInput, kWeight
  std::vector<float> numbers;  // kConstant
  PlanValueId base = -1;       // kView; below the view's own id
  int64_t begin = 0;           // kView: first column
};

struct Instruction {
  std::string op;  // a kernel table row's op, or a load op
  std::string tactic;
  std::vector<PlanValueId> inputs;  // -1: absent
  std::vector<PlanValueId> outputs;
  Attributes attributes;
};

struct Plan {
  std::vector<PlanValue> values;
  std::vector<Instruction> load;   // once, on weights
  std::vector<Instruction> steps;  // every step
  PlanValueId logits = -1;
  int64_t attentions = 0;  // layers of the KV cache
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  DType dtype = DType::kF32;  // nominal activation type
};

// Checks ids, types, the order of definitions and views, so that a plan from a file can be followed
// blindly; what each op makes of its inputs is checked by who knows the op.
// Throws Error(kInvalidModel) "[where] steps[3] ...".
void check(const Plan& plan, const std::string& where);

Json to_json(const Plan& plan);
Plan plan_from_json(const Json& json, const std::string& where);  // checked

}  // namespace brayton
