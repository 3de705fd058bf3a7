// The CPU backend.
#pragma once

#include <memory>
#include <string>

#include "backends/backend.h"

namespace brayton {

struct CpuOptions {
  int threads = 0;    // 0: the cores of this process
  std::string level;  // "baseline", "sse42", "avx2", "avx512"; empty: the best here
};

// Throws Error(kInvalidArgument) for wrong options, Error(kUnsupported) for a level that this CPU
// lacks. The backend owns the threads; its streams must not outlive it.
std::unique_ptr<Backend> make_cpu_backend(const CpuOptions& options = {});

}  // namespace brayton
