// The passes, each described in the file of its name. They keep the graph valid, return whether
// they changed it, and change nothing when run a second time.
#pragma once

#include "graph/graph.h"

namespace brayton {

bool fold_constants(Graph& graph);
bool merge_equal_nodes(Graph& graph);
bool fuse_qkv(Graph& graph);
bool fuse_gate_up(Graph& graph);
bool fuse_add_norm(Graph& graph);
bool eliminate_dead_code(Graph& graph);

}  // namespace brayton
