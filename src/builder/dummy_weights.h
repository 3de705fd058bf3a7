// Random weights for a model of which only the shapes are known.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "engine/plan.h"

namespace brayton {

// Vectors have values of their own: norms' weights lie around 1, the others around 0. Matrices are
// windows of one tile of normal numbers (standard deviation 0.02), at a place that depends on name
// and seed, mapped again and again: a model of any size costs the tile's memory. Read-only.
struct DummyWeights {
  std::map<std::string, TensorView> tensors;
  std::shared_ptr<const void> owner;
};

// For every weight of the plan. Equal seeds give equal weights.
// Throws Error(kUnsupported) for types other than f32, f16 and bf16.
DummyWeights make_dummy_weights(const Plan& plan, uint64_t seed);

}  // namespace brayton
