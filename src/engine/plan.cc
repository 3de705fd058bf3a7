#include "engine/plan.h"

#include "core/format.h"

namespace brayton {
namespace {

using Kind = PlanValue::Kind;

class Checker {
 public:
  Checker(const Plan& plan, const std::string& where) : plan_(plan), where_(where) {}

  void run() {
    for (size_t i = 0; i < plan_.values.size(); ++i) check_value(i);
    defined_.assign(plan_.values.size(), kNever);
    for (size_t i = 0; i < plan_.values.size(); ++i)
      if (is_leaf(plan_.values[i])) defined_[i] = kAlways;
    writes_.resize(plan_.values.size());
    produced_.resize(plan_.values.size());
    for (const Instruction& load : plan_.load) produced_by(load);
    for (const Instruction& step : plan_.steps) produced_by(step);
    for (size_t i = 0; i < plan_.load.size(); ++i)
      check_instruction(plan_.load[i], format("load[{}]", i), -1);
    for (size_t i = 0; i < plan_.steps.size(); ++i)
      check_instruction(plan_.steps[i], format("steps[{}]", i), static_cast<int64_t>(i));
    check_results();
  }

 private:
  static constexpr int64_t kNever = -3;
  static constexpr int64_t kAlways = -2;

  struct Write {
    int64_t step;
    int64_t begin, end;  // columns
  };

  template <class... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> text, Args&&... args) const {
    throw_error(ErrorCode::kInvalidModel, "[{}] {}", where_,
                fmt::format(text, std::forward<Args>(args)...));
  }

  static bool is_leaf(const PlanValue& value) {
    return value.kind == Kind::kInput || value.kind == Kind::kWeight ||
           value.kind == Kind::kConstant;
  }

  static int64_t columns(const PlanValue& value) {
    return value.type.dims.empty() ? 1 : value.type.dims.back().size;
  }

  void check_value(size_t i) const {
    const PlanValue& value = plan_.values[i];
    if (value.type.rank() > Shape::kMaxRank)
      fail("values[{}] must have at most {} dimensions, got {}", i, Shape::kMaxRank,
           value.type.str());
    for (const Dim& dim : value.type.dims)
      if (dim.is_constant() && dim.size < 0)
        fail("values[{}] must have dimensions of 0 or more, got {}", i, value.type.str());
    const bool leaf_of_model =
        value.kind == Kind::kWeight || value.kind == Kind::kConstant || value.kind == Kind::kLoaded;
    if (leaf_of_model && !value.type.is_constant())
      fail("values[{}] must have a constant shape, got {}", i, value.type.str());
    if ((value.kind == Kind::kInput || value.kind == Kind::kWeight) && value.name.empty())
      fail("values[{}] must have a name", i);
    if (value.kind == Kind::kConstant &&
        (value.type.dtype != DType::kF32 || value.type.rank() != 1 ||
         value.type.dims[0].size != static_cast<int64_t>(value.numbers.size())))
      fail("values[{}] must be f32[{}] for its {} numbers, got {}", i, value.numbers.size(),
           value.numbers.size(), value.type.str());
    if (value.kind == Kind::kView) check_view(i, value);
  }

  void check_view(size_t i, const PlanValue& view) const {
    if (view.base < 0 || static_cast<size_t>(view.base) >= i ||
        plan_.values[view.base].kind != Kind::kActivation)
      fail("values[{}].base must be an activation listed before it, got {}", i, view.base);
    const PlanValue& base = plan_.values[view.base];
    bool same = view.type.dtype == base.type.dtype && view.type.rank() == base.type.rank() &&
                view.type.rank() > 0 && view.type.dims.back().is_constant() &&
                base.type.dims.back().is_constant();
    for (int d = 0; same && d + 1 < view.type.rank(); ++d)
      same = view.type.dims[d] == base.type.dims[d];
    if (!same || view.begin < 0 || view.begin > columns(base) ||
        columns(view) > columns(base) - view.begin)
      fail("values[{}] must be columns of {}, got {} at column {}", i, base.type.str(),
           view.type.str(), view.begin);
  }

  void produced_by(const Instruction& instruction) {
    for (PlanValueId id : instruction.outputs)
      if (id >= 0 && static_cast<size_t>(id) < produced_.size()) produced_[id] = true;
  }

  // Step after which the value holds what its definition says; kNever when it does not yet.
  int64_t definition(PlanValueId id) const {
    const PlanValue& value = plan_.values[id];
    return value.kind == Kind::kView && !produced_[id] ? defined_[value.base] : defined_[id];
  }

  void check_read(PlanValueId id, const std::string& where) const {
    const PlanValue& value = plan_.values[id];
    const int64_t defined = definition(id);
    if (defined == kNever) fail("{} reads value {} before its definition", where, id);
    const bool view = value.kind == Kind::kView;
    const int64_t begin = view ? value.begin : 0;
    const int64_t end = begin + columns(value);
    for (const Write& write : writes_[view ? value.base : id])
      if (write.step > defined && write.begin < end && begin < write.end)
        fail("{} reads value {}, whose columns steps[{}] has written in place", where, id,
             write.step);
  }

  // `step`: -1 for load instructions.
  void check_instruction(const Instruction& instruction, const std::string& where, int64_t step) {
    if (instruction.op.empty()) fail("{} must have an op", where);
    for (PlanValueId id : instruction.inputs) {
      if (id == -1) continue;
      if (id < 0 || static_cast<size_t>(id) >= plan_.values.size())
        fail("{} reads value {}, of {} values", where, id, plan_.values.size());
      const Kind kind = plan_.values[id].kind;
      if (step < 0 && kind != Kind::kWeight && kind != Kind::kConstant && kind != Kind::kLoaded)
        fail("{} must read weights only, got value {}", where, id);
      check_read(id, where);
    }
    if (instruction.outputs.empty()) fail("{} must have an output", where);
    for (PlanValueId id : instruction.outputs) define(id, where, step);
  }

  void define(PlanValueId id, const std::string& where, int64_t step) {
    if (id < 0 || static_cast<size_t>(id) >= plan_.values.size())
      fail("{} writes value {}, of {} values", where, id, plan_.values.size());
    const PlanValue& value = plan_.values[id];
    const bool fits = step < 0 ? value.kind == Kind::kLoaded
                               : value.kind == Kind::kActivation || value.kind == Kind::kView;
    if (!fits)
      fail("{} must write {}, got value {}", where,
           step < 0 ? "a loaded value" : "an activation or a view", id);
    if (defined_[id] != kNever) fail("{} writes value {}, which is defined already", where, id);
    if (value.kind == Kind::kView) {
      if (defined_[value.base] == kNever || defined_[value.base] == step)
        fail("{} writes value {} before its base {} is defined", where, id, value.base);
      writes_[value.base].push_back({step, value.begin, value.begin + columns(value)});
    }
    defined_[id] = step < 0 ? kAlways : step;
  }

  void check_results() const {
    if (plan_.logits < 0 || static_cast<size_t>(plan_.logits) >= plan_.values.size() ||
        plan_.values[plan_.logits].kind != Kind::kActivation)
      fail("logits must be an activation, got {}", plan_.logits);
    check_read(plan_.logits, "logits");
    if (plan_.attentions < 0 || plan_.kv_heads < 0 || plan_.head_dim < 0)
      fail("attentions, kv_heads and head_dim must be 0 or more, got {}, {} and {}",
           plan_.attentions, plan_.kv_heads, plan_.head_dim);
  }

  const Plan& plan_;
  const std::string& where_;
  std::vector<int64_t> defined_;
  std::vector<bool> produced_;              // is an output of some instruction
  std::vector<std::vector<Write>> writes_;  // in place, by base
};

}  // namespace

void check(const Plan& plan, const std::string& where) { Checker(plan, where).run(); }

}  // namespace brayton
