// The names of devices -> backends.
#pragma once

#include <memory>

#include "backends/backend.h"
#include "brayton/llm.h"

namespace brayton {

// "cpu", "cuda", "cuda:N" or "auto". Throws Error(kInvalidArgument) for another name and
// Error(kUnsupported) for a device that this build or machine lacks.
std::unique_ptr<Backend> open_device(const LoadOptions& options);

// A backend that compiles for a GPU architecture ("sm_90a") and runs nothing; needs no GPU.
std::unique_ptr<Backend> open_architecture(const std::string& arch, const LoadOptions& options);

}  // namespace brayton
