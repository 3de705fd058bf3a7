// A step plan -> the inputs of a step -> logits.
#pragma once

#include "executor/scheduler/scheduler.h"
#include "program/program.h"
#include "program/step.h"

namespace brayton {

// Loop thread only. Nothing is allocated after the first steps: the arrays keep their memory.
class Runner {
 public:
  explicit Runner(Program& program);

  // Packs the scheduled tokens, and lists their logit rows, in the plan's order.
  void prepare(const StepPlan& plan);
  // Enqueues what was prepared. Throws what Program::launch throws.
  void launch() { program_.launch(inputs_); }
  // Of the step launched last, when it has ended. [rows, vocab] f32, valid until the next launch.
  // Throws Error(kInternal) for logits of another shape.
  TensorView host_logits();

  const StepInputs& inputs() const { return inputs_; }

 private:
  Program& program_;
  StepInputs inputs_;
};

}  // namespace brayton
