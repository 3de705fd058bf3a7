#include "compile/plan/choose_kernels.h"

#include <algorithm>

#include "core/check.h"

namespace brayton {
namespace {

const ValueType& weight_of(const Plan& plan, const Instruction& linear) {
  const PlanValueId id = linear.inputs.size() < 2 ? -1 : linear.inputs[1];
  if (id < 0 || plan.values.at(id).type.rank() != 2 || !plan.values[id].type.is_constant())
    throw_error(ErrorCode::kInvalidModel, "[plan] the weight of a linear layer must be a matrix");
  return plan.values[id].type;
}

}  // namespace

void choose_kernels(Plan& plan, const Backend& backend) {
  for (Instruction& step : plan.steps) {
    if (step.op != "linear") continue;
    const ValueType& weight = weight_of(plan, step);
    const Shape shape = weight.shape();
    const std::vector<std::string> tactics =
        backend.linear_tactics({weight.dtype, shape[0], shape[1], plan.dtype});
    BRAYTON_CHECK(!tactics.empty());
    if (std::find(tactics.begin(), tactics.end(), step.tactic) == tactics.end())
      step.tactic = tactics.front();
  }
}

}  // namespace brayton
