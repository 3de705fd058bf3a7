#include "compile/plan/choose_kernels.h"

#include "core/check.h"

namespace brayton {

void choose_kernels(Plan& plan, const Backend& backend) {
  for (Instruction& step : plan.steps) {
    if (step.op != "linear") continue;
    const ValueType& weight = plan.values.at(step.inputs.at(1)).type;
    const Shape shape = weight.shape();
    const std::vector<std::string> tactics =
        backend.linear_tactics({weight.dtype, shape[0], shape[1], plan.dtype});
    BRAYTON_CHECK(!tactics.empty());
    step.tactic = tactics.front();
  }
}

}  // namespace brayton
