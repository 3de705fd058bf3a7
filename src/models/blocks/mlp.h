// Feed-forward layers that families share.
#pragma once

#include "models/blocks/projection.h"

namespace brayton {

struct GatedMlpOptions {
  int64_t width = 0;  // of the hidden layer
  ActivationKind activation = ActivationKind::kSilu;
  Bias bias = Bias::kNone;
};

// down(act(gate(x)) * up(x)), with gate_proj, up_proj and down_proj below `w`.
Value gated_mlp(GraphBuilder& g, const Scope& w, Value x, const GatedMlpOptions& options);

}  // namespace brayton
