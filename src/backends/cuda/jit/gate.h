// What no compiled kernel may do: spill, keep arrays in memory, lose its tensor core pipeline.
#pragma once

#include <string>
#include <vector>

#include "backends/cuda/jit/compiled_kernel.h"

namespace brayton::cuda {

struct GateResult {
  std::vector<std::string> faults;  // "64 bytes of spills"
  bool passed() const { return faults.empty(); }
};

// Fails on spills, stack frames and the assembler's remarks C7508 (setmaxnreg ignored) and C7510,
// C7514, C7519 (wgmma serialised).
GateResult check_gate(const KernelStats& stats);

}  // namespace brayton::cuda
