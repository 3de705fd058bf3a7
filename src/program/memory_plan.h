// What a program will take of a device's memory, before it takes any.
#pragma once

#include "backends/backend.h"
#include "engine/engine.h"
#include "engine/plan.h"
#include "program/program.h"

namespace brayton {

StepSizes largest_step(const ProgramOptions& options);
// Columns of the block table: what the longest sequence needs.
int64_t table_columns(const Engine& engine, const ProgramOptions& options);

// Checks the options and fills in kv_blocks. `plan`: as the device carries it out.
// Throws Error(kInvalidArgument) for an option, Error(kResourceExhausted) when nothing is left for
// the cache.
MemoryPlan plan_memory(const Engine& engine, const Plan& plan, const Backend& backend,
                       ProgramOptions& options);

// Throws Error(kResourceExhausted) that names the line to shrink and by how much when the plan
// exceeds what the device has free.
void check_room(const MemoryPlan& memory, const Backend& backend);

// "linear 6144x4096": an instruction's row in a profile.
std::string profile_name(const Plan& plan, const Instruction& instruction);

}  // namespace brayton
