// LoadOptions -> the options of the layers below.
#pragma once

#include "brayton/llm.h"
#include "builder/builder.h"
#include "program/program.h"

namespace brayton {

BuildOptions build_options(const LoadOptions& options);
// Throws Error(kInvalidArgument) naming the option.
ProgramOptions program_options(const LoadOptions& options, const Engine& engine,
                               const Backend& backend);
// Every kernel that the engine's steps need on the backend; none where they are not compiled.
KernelImages compile_kernels(const Engine& engine, Backend& backend, const LoadOptions& options);

}  // namespace brayton
