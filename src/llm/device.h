// The names of devices -> backends.
#pragma once

#include <memory>

#include "backends/backend.h"
#include "brayton/llm.h"

namespace brayton {

// Which of the kernels that compute the same a GPU's backend takes.
enum class KernelChoice {
  kMeasured,  // the fastest by measurements, a library's among them
  kOwn,       // our own only, by what is known of the device
};

// "cpu", "cuda", "cuda:N" or "auto". Throws Error(kInvalidArgument) for another name and
// Error(kUnsupported) for a device that this build or machine lacks.
std::unique_ptr<Backend> open_device(const LoadOptions& options,
                                     KernelChoice choice = KernelChoice::kMeasured);

// A backend that compiles for a GPU architecture ("sm_90a") and runs nothing; needs no GPU.
std::unique_ptr<Backend> open_architecture(const std::string& arch, const LoadOptions& options);

}  // namespace brayton
