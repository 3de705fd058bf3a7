#include "engine/arena.h"

#include <algorithm>
#include <numeric>
#include <string_view>

#include "core/check.h"
#include "core/checked_math.h"

namespace brayton {
namespace {

using Kind = PlanValue::Kind;

constexpr int64_t kAlignment = 64;

// Ops whose output may lie where an input lay, as the ops' headers allow. Earlier rows first.
struct Takeover {
  std::string_view op;
  int output;
  int input;
};
constexpr Takeover kTakeovers[] = {
    {"rope", 0, 0},
    {"activation", 0, 0},
    {"scale", 0, 0},
    {"add", 0, 0},
    {"add", 0, 1},
    {"mul", 0, 0},
    {"mul", 0, 1},
    {"rms_norm", 0, 0},
    {"layer_norm", 0, 0},
    {"add_rms_norm", 1, 1},
    {"add_rms_norm", 1, 0},
    {"add_rms_norm", 0, 0},
    {"add_layer_norm", 1, 1},
    {"add_layer_norm", 1, 0},
    {"add_layer_norm", 0, 0},
};

// Memory of one value, or of several that take it over one from the other.
struct Slot {
  int64_t first = 0, last = 0;  // steps, both included
  int64_t bytes = 0;
  int64_t offset = 0;
};

class Layout {
 public:
  Layout(const Plan& plan, const StepSizes& largest, const std::function<DType(DType)>& storage)
      : plan_(plan), largest_(largest), storage_(storage) {}

  ArenaLayout run() {
    find_lifetimes();
    make_slots();
    place();
    ArenaLayout layout;
    layout.offsets.assign(plan_.values.size(), -1);
    for (size_t i = 0; i < plan_.values.size(); ++i) {
      if (slot_of_[i] < 0) continue;
      layout.offsets[i] = slots_[slot_of_[i]].offset;
      layout.unshared_bytes = sum(layout.unshared_bytes, bytes_of(static_cast<PlanValueId>(i)));
    }
    for (const Slot& slot : slots_)
      layout.bytes = std::max(layout.bytes, sum(slot.offset, slot.bytes));
    return layout;
  }

 private:
  static int64_t sum(int64_t a, int64_t b) {
    const std::optional<int64_t> result = checked_add(a, b);
    if (!result || *result > std::numeric_limits<int64_t>::max() - kAlignment)
      throw_error(ErrorCode::kResourceExhausted,
                  "[arena] the activations of a step must fit the address space; use a smaller "
                  "step");
    return *result;
  }

  // The activation that a value's bytes belong to; -1: none.
  PlanValueId memory_of(PlanValueId id) const {
    if (id < 0) return -1;
    const PlanValue& value = plan_.values[id];
    if (value.kind == Kind::kView) return value.base;
    return value.kind == Kind::kActivation ? id : -1;
  }

  int64_t bytes_of(PlanValueId id) const {
    const ValueType& type = plan_.values[id].type;
    return round_up(sum(storage_bytes(storage_(type.dtype), type.shape(largest_)), 0), kAlignment);
  }

  void find_lifetimes() {
    last_use_.assign(plan_.values.size(), -1);
    for (size_t step = 0; step < plan_.steps.size(); ++step) {
      for (const auto* ids : {&plan_.steps[step].inputs, &plan_.steps[step].outputs})
        for (PlanValueId id : *ids)
          if (const PlanValueId memory = memory_of(id); memory >= 0)
            last_use_[memory] = static_cast<int64_t>(step);
    }
    if (plan_.logits >= 0) last_use_[plan_.logits] = static_cast<int64_t>(plan_.steps.size());
  }

  void make_slots() {
    slot_of_.assign(plan_.values.size(), -1);
    for (size_t step = 0; step < plan_.steps.size(); ++step) {
      const Instruction& instruction = plan_.steps[step];
      take_over(instruction, static_cast<int64_t>(step));
      for (PlanValueId id : instruction.outputs) {
        if (plan_.values[id].kind != Kind::kActivation || slot_of_[id] >= 0) continue;
        slot_of_[id] = static_cast<int>(slots_.size());
        slots_.push_back({static_cast<int64_t>(step), last_use_[id], bytes_of(id)});
      }
    }
  }

  void take_over(const Instruction& instruction, int64_t step) {
    for (const Takeover& row : kTakeovers) {
      if (row.op != instruction.op) continue;
      if (row.output >= static_cast<int>(instruction.outputs.size())) continue;
      if (row.input >= static_cast<int>(instruction.inputs.size())) continue;
      const PlanValueId out = instruction.outputs[row.output];
      const PlanValueId in = instruction.inputs[row.input];
      if (in < 0 || plan_.values[in].kind != Kind::kActivation || slot_of_[in] < 0) continue;
      if (plan_.values[out].kind != Kind::kActivation || slot_of_[out] >= 0) continue;
      if (last_use_[in] != step || is_shared(instruction, in)) continue;
      if (plan_.values[in].type != plan_.values[out].type) continue;
      slot_of_[out] = slot_of_[in];
      slots_[slot_of_[in]].last = last_use_[out];
    }
  }

  // Whether another output has taken the memory of `in` already, or another input views it.
  bool is_shared(const Instruction& instruction, PlanValueId in) const {
    for (PlanValueId id : instruction.outputs)
      if (slot_of_[id] == slot_of_[in]) return true;
    for (PlanValueId id : instruction.inputs)
      if (id != in && memory_of(id) == in) return true;
    return false;
  }

  // Largest first, each at the lowest offset that is free during its life.
  void place() {
    std::vector<size_t> order(slots_.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return slots_[a].bytes > slots_[b].bytes; });
    std::vector<const Slot*> placed;  // by offset
    for (size_t index : order) {
      Slot& slot = slots_[index];
      int64_t offset = 0;
      for (const Slot* other : placed) {
        if (other->last < slot.first || slot.last < other->first) continue;
        if (other->offset - offset >= slot.bytes) break;
        offset = std::max(offset, sum(other->offset, other->bytes));
      }
      slot.offset = offset;
      const auto by_offset = [](const Slot* a, const Slot* b) { return a->offset < b->offset; };
      placed.insert(std::upper_bound(placed.begin(), placed.end(), &slot, by_offset), &slot);
    }
  }

  const Plan& plan_;
  const StepSizes& largest_;
  const std::function<DType(DType)>& storage_;
  std::vector<int64_t> last_use_;  // by value, views counted for their base
  std::vector<int> slot_of_;       // by value
  std::vector<Slot> slots_;
};

}  // namespace

ArenaLayout lay_out_arena(const Plan& plan, const StepSizes& largest,
                          const std::function<DType(DType)>& storage) {
  return Layout(plan, largest, storage).run();
}

}  // namespace brayton
