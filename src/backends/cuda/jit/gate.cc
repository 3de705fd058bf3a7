#include "backends/cuda/jit/gate.h"

#include <algorithm>
#include <array>
#include <tuple>

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

std::string gate_table(std::vector<GateRow> rows) {
  std::ranges::sort(rows, {}, [](const GateRow& row) { return std::tie(row.arch, row.kernel); });
  size_t width = std::string_view("kernel").size();
  for (const GateRow& row : rows) width = std::max(width, row.kernel.size());
  std::string table =
      format("{:10}  {:{}}  {:>9}  {:>12}\n", "arch", "kernel", width, "registers", "shared bytes");
  for (const GateRow& row : rows) {
    table += format("{:10}  {:{}}  {:>9}  {:>12}", row.arch, row.kernel, width, row.stats.registers,
                    row.stats.shared_bytes);
    const GateResult result = check_gate(row.stats);
    if (!result.passed()) table += format("  FAILS: {}", fmt::join(result.faults, "; "));
    table += '\n';
  }
  return table;
}

}  // namespace brayton::cuda
