// Graph -> plan: the ordered passes, then lowering and the choice of kernels.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "engine/plan.h"
#include "graph/graph.h"

namespace brayton {

struct CompileOptions {
  // Called after each pass with its name and the graph; serves --dump-after.
  std::function<void(const std::string& pass, const Graph& graph)> after_pass;
};

struct PassReport {
  std::string pass;
  int64_t nodes_before = 0;
  int64_t nodes_after = 0;
  double milliseconds = 0;
};

struct CompileReport {
  std::vector<PassReport> passes;
  // Activations of a step of kReportedStep tokens, laid out by lifetimes, and without sharing.
  int64_t activation_bytes = 0;
  int64_t activation_bytes_unshared = 0;
};

inline constexpr int64_t kReportedStep = 512;

// A pass changes the graph in place and says whether it did.
struct Pass {
  std::string name;
  bool (*run)(Graph& graph);
};

// The list, in order. compile/passes/ has a file for each.
const std::vector<Pass>& pipeline();

// Runs the pipeline on `graph` and lowers the result. The backend names the kernel tactics.
Plan compile(Graph& graph, const Backend& backend, const CompileOptions& options,
             CompileReport* report = nullptr);

}  // namespace brayton
