#include "program/device_plan.h"

#include <algorithm>

#include "core/check.h"

namespace brayton {
namespace {

using Kind = PlanValue::Kind;

class Joining {
 public:
  explicit Joining(Plan plan) : plan_(std::move(plan)), removed_(plan_.steps.size(), false) {}

  void join_linear_activation() {
    for (size_t i = 0; i < plan_.steps.size(); ++i) {
      Instruction& linear = plan_.steps[i];
      if (linear.op != "linear") continue;
      const int reader = only_reader(linear.outputs[0]);
      if (reader < 0) continue;
      const Instruction& next = plan_.steps[reader];
      if (next.op != "activation" && next.op != "gated_activation") continue;
      linear.attributes.set("activation", next.attributes.get_string("kind"));
      linear.attributes.set("gated", next.op == "gated_activation");
      linear.outputs = next.outputs;
      removed_[reader] = true;
    }
  }

  void join_append_kv() {
    std::vector<Instruction> steps;
    for (size_t i = 0; i < plan_.steps.size(); ++i) {
      if (removed_[i]) continue;
      if (plan_.steps[i].op == "attention") append_before(plan_.steps[i], steps);
      steps.push_back(plan_.steps[i]);
    }
    // Ropes that an append took over are gone from `steps` as well.
    std::erase_if(steps, [&](const Instruction& step) {
      return step.op == "rope" &&
             std::find(taken_.begin(), taken_.end(), step.outputs[0]) != taken_.end();
    });
    plan_.steps = std::move(steps);
    removed_.assign(plan_.steps.size(), false);
  }

  Plan take() {
    std::vector<Instruction> steps;
    for (size_t i = 0; i < plan_.steps.size(); ++i)
      if (!removed_[i]) steps.push_back(std::move(plan_.steps[i]));
    plan_.steps = std::move(steps);
    return std::move(plan_);
  }

 private:
  // The step that reads an activation, when there is one only and nothing views or returns it.
  int only_reader(PlanValueId id) const {
    if (id == plan_.logits || plan_.values[id].kind != Kind::kActivation) return -1;
    for (const PlanValue& value : plan_.values)
      if (value.kind == Kind::kView && value.base == id) return -1;
    int reader = -1;
    for (size_t i = 0; i < plan_.steps.size(); ++i) {
      if (removed_[i]) continue;
      const auto& inputs = plan_.steps[i].inputs;
      const auto reads = std::count(inputs.begin(), inputs.end(), id);
      if (reads == 0) continue;
      if (reads > 1 || reader >= 0 || inputs[0] != id) return -1;
      reader = static_cast<int>(i);
    }
    return reader;
  }

  // The rope that makes `id` in the place of its own input; null when there is none.
  const Instruction* rope_in_place(PlanValueId id) const {
    const PlanValue& out = plan_.values[id];
    if (out.kind != Kind::kView) return nullptr;
    for (const Instruction& step : plan_.steps) {
      if (step.op != "rope" || step.outputs[0] != id) continue;
      const PlanValue& in = plan_.values[step.inputs[0]];
      const bool same = in.kind == Kind::kView && in.base == out.base && in.begin == out.begin;
      return same ? &step : nullptr;
    }
    return nullptr;
  }

  void append_before(Instruction& attention, std::vector<Instruction>& steps) {
    Instruction append;
    append.op = "append_kv";
    for (const char* name : {"heads", "kv_heads", "head_dim", "layer"})
      append.attributes.set(name, attention.attributes.get_int(name));
    const Instruction* q = rope_in_place(attention.inputs[0]);
    const Instruction* k = rope_in_place(attention.inputs[1]);
    const bool rotary = q && k && q->inputs[1] == k->inputs[1] && q->inputs[2] == k->inputs[2] &&
                        q->attributes == k->attributes;
    if (rotary) {
      append.inputs = {q->inputs[0], k->inputs[0], attention.inputs[2], q->inputs[1], q->inputs[2]};
      append.attributes.set("interleaved", q->attributes.get_bool("interleaved"));
      append.attributes.set("scale", q->attributes.get_double("scale"));
      append.outputs = {attention.inputs[0]};
      taken_.push_back(q->outputs[0]);
      taken_.push_back(k->outputs[0]);
    } else {
      append.inputs = {attention.inputs[0], attention.inputs[1], attention.inputs[2], -1, -1};
      append.attributes.set("interleaved", false);
      append.attributes.set("scale", 1.0);
    }
    attention.inputs[1] = attention.inputs[2] = -1;
    steps.push_back(std::move(append));
  }

  Plan plan_;
  std::vector<bool> removed_;       // by step
  std::vector<PlanValueId> taken_;  // results of ropes that an append took over
};

}  // namespace

Plan plan_for_device(Plan plan, const Fusions& fusions) {
  Joining joining(std::move(plan));
  if (fusions.linear_activation) joining.join_linear_activation();
  if (fusions.append_kv) joining.join_append_kv();
  return joining.take();
}

}  // namespace brayton
