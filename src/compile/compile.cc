#include "compile/compile.h"

#include <chrono>

#include "compile/lower.h"
#include "compile/plan/choose_kernels.h"
#include "engine/arena.h"

namespace brayton {

Plan compile(Graph& graph, const Backend& backend, const CompileOptions& options,
             CompileReport* report) {
  for (const Pass& pass : pipeline()) {
    const auto before = static_cast<int64_t>(graph.nodes().size());
    const auto start = std::chrono::steady_clock::now();
    pass.run(graph);
    const std::chrono::duration<double, std::milli> taken =
        std::chrono::steady_clock::now() - start;
    graph.verify();
    if (report)
      report->passes.push_back(
          {pass.name, before, static_cast<int64_t>(graph.nodes().size()), taken.count()});
    if (options.after_pass) options.after_pass(pass.name, graph);
  }
  Plan plan = lower(graph);
  choose_kernels(plan, backend);
  if (report) {
    const ArenaLayout arena =
        lay_out_arena(plan, {.tokens = kReportedStep, .rows = 1, .sequences = 1},
                      [&](DType nominal) { return backend.activation_dtype(nominal); });
    report->activation_bytes = arena.bytes;
    report->activation_bytes_unshared = arena.unshared_bytes;
  }
  return plan;
}

}  // namespace brayton
