// A plan as one backend carries it out: instructions that it computes as one are joined.
#pragma once

#include "backends/backend.h"
#include "engine/plan.h"

namespace brayton {

// linear, activation            -> linear {activation, gated}
// rope (q), rope (k), attention -> append_kv (rotary), attention without k and v
// attention                     -> append_kv (plain), attention without k and v
// as far as the backend's Fusions say. Values that no step makes any more stay in the plan, unused.
Plan plan_for_device(Plan plan, const Fusions& fusions);

}  // namespace brayton
