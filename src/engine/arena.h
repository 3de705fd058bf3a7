// The memory plan of a step: activations -> offsets in one arena, by lifetimes.
#pragma once

#include <functional>
#include <vector>

#include "engine/plan.h"

namespace brayton {

struct ArenaLayout {
  std::vector<int64_t> offsets;  // by PlanValueId; -1 for values outside the arena
  int64_t bytes = 0;             // of the arena
  int64_t unshared_bytes = 0;    // what it would be without reuse
};

// `largest`: the largest step. `storage`: nominal type -> the device's. Two values overlap only if
// they never live at the same time, or if the op of one takes over the memory of the other.
// Offsets are multiples of 64.
ArenaLayout lay_out_arena(const Plan& plan, const StepSizes& largest,
                          const std::function<DType(DType)>& storage);

}  // namespace brayton
