#include "compile/compile.h"
#include "compile/passes/passes.h"

namespace brayton {

const std::vector<Pass>& pipeline() {
  static const std::vector<Pass> passes = {
      {"fold_constants", fold_constants},
      {"merge_equal_nodes", merge_equal_nodes},
      {"fuse_qkv", fuse_qkv},
      {"fuse_gate_up", fuse_gate_up},
      {"fuse_add_norm", fuse_add_norm},
      {"eliminate_dead_code", eliminate_dead_code},
  };
  return passes;
}

}  // namespace brayton
