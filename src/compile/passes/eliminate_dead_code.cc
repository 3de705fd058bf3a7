// eliminate_dead_code: nodes that no output depends on go; inputs stay.
//
//   %2 = activation(%1) {kind="silu"}              %2 = activation(%1) {kind="silu"}
//   %3 = activation(%1) {kind="relu"}        ->    return logits=%2
//   return logits=%2
#include "compile/passes/passes.h"

namespace brayton {

bool eliminate_dead_code(Graph& graph) { return graph.compact() > 0; }

}  // namespace brayton
