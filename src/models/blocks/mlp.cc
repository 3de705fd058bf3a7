#include "models/blocks/mlp.h"

namespace brayton {

Value gated_mlp(GraphBuilder& g, const Scope& w, Value x, const GatedMlpOptions& options) {
  const Value gate = project(g, w / "gate_proj", x, options.width, options.bias);
  const Value up = project(g, w / "up_proj", x, options.width, options.bias);
  const int64_t out = x.type().dims.back().size;
  return project(g, w / "down_proj", g.activation(gate, options.activation) * up, out,
                 options.bias);
}

}  // namespace brayton
