// Several linear layers of one input as one layer.
#pragma once

#include <vector>

#include "graph/graph.h"

namespace brayton {

// Whether `value` is the result of a linear layer and only one node reads it.
bool is_sole_linear(const Graph& graph, ValueId value);

// linear(x, w_0, b_0), linear(x, w_1, b_1), ... of weights of one dtype
//   -> linear(x, concat(w_0, w_1, ...), concat(b_0, b_1, ...)), with zeros for absent biases.
// Returns the columns of all.
ValueId join_linears(Graph& graph, const std::vector<ValueId>& results);

}  // namespace brayton
