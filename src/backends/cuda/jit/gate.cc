#include "backends/cuda/jit/gate.h"

#include <algorithm>
#include <array>

#include "core/format.h"

namespace brayton::cuda {

GateResult check_gate(const KernelStats& stats) {
  constexpr std::array<std::string_view, 4> kForbidden = {"(C7508)", "(C7510)", "(C7514)",
                                                          "(C7519)"};
  GateResult result;
  if (stats.spill_bytes > 0)
    result.faults.push_back(format("{} bytes of spills", stats.spill_bytes));
  if (stats.stack_bytes > 0)
    result.faults.push_back(format("a stack frame of {} bytes", stats.stack_bytes));
  for (const std::string& warning : stats.warnings)
    if (std::ranges::any_of(kForbidden, [&](std::string_view code) {
          return warning.find(code) != std::string::npos;
        }))
      result.faults.push_back(warning);
  return result;
}

}  // namespace brayton::cuda
