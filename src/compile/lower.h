// A graph as a plan: what happens at load, what happens at every step, and where columns of one
// value are read or written in place.
#pragma once

#include "engine/plan.h"
#include "graph/graph.h"

namespace brayton {

// Leaves tactics empty. The graph's output "logits" must be the result of an op.
// Throws Error(kUnsupported) for graphs that one KV cache cannot serve.
Plan lower(const Graph& graph);

}  // namespace brayton
