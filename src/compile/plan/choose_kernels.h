// Names the kernel tactic of every linear layer of a plan.
#pragma once

#include "backends/backend.h"
#include "engine/plan.h"

namespace brayton {

// The backend's preferred tactic for the weight's dtype after load, its shape and the plan's dtype,
// unless the instruction names one that the backend has as well.
// Throws Error(kInvalidModel) when a linear layer's weight is no matrix.
void choose_kernels(Plan& plan, const Backend& backend);

}  // namespace brayton
