// Whether a step can be run: sizes, offsets, blocks, ids.
#pragma once

#include "engine/engine.h"
#include "program/program.h"
#include "program/step.h"

namespace brayton {

// Throws Error(kInvalidArgument) "[step] block must be in [0, 15], got 16".
void check_step(const StepInputs& inputs, const Engine& engine, const ProgramOptions& options);

}  // namespace brayton
