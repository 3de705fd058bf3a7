// Instructions -> launches: kernels with their arguments, bound once; a step only fills in sizes.
#pragma once

#include <functional>
#include <vector>

#include "backends/backend.h"
#include "engine/plan.h"
#include "program/weights.h"

namespace brayton {

// A value's place on the device. The first dimension may be one that each step sets.
struct Slot {
  TensorView view;
  char symbol = '\0';
  TensorView at(const StepSizes& sizes) const {
    TensorView result = view;
    if (symbol) result.shape[0] = sizes.of(Dim::of(symbol));
    return result;
  }
};

// The step's inputs on the device; those of sequences cut to the step at hand.
struct StepArrays {
  TensorView token_ids, positions, logit_rows;        // [max_tokens], [max_tokens], [max_rows] i32
  TensorView query_offsets, kv_lengths, block_table;  // [S + 1], [S], [S, max_blocks] i32
  TensorView slots;                                   // [S] i32
  int64_t decodes = 0;                                // as in StepInputs
};

struct BindContext {
  const Plan& plan;
  const KernelTable& kernels;
  const Weights& weights;
  const StepArrays& arrays;        // read at every launch
  std::vector<Slot> slots;         // activations and inputs, by PlanValueId
  std::vector<TensorView> caches;  // by attention layer
};

using Launch = std::function<void(Stream&, const StepSizes&)>;

// Throws Error(kInvalidModel) when an instruction is no op of the kernel table or does not fit it.
Launch bind(const BindContext& context, const Instruction& instruction);

}  // namespace brayton
