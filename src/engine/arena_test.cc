// Values that live at the same time never share memory, and memory is shared where it can be.
#include "engine/arena.h"

#include <gtest/gtest.h>

#include <random>

#include "brayton/error.h"
#include "core/checked_math.h"

namespace brayton {
namespace {

using Kind = PlanValue::Kind;

PlanValueId add_value(Plan& plan, Kind kind, int64_t columns, PlanValueId base = -1,
                      int64_t begin = 0) {
  PlanValue value;
  value.kind = kind;
  value.type = {DType::kF32, {Dim::of('T'), Dim(columns)}};
  if (kind == Kind::kInput) value.name = "input" + std::to_string(plan.values.size());
  value.base = base;
  value.begin = begin;
  plan.values.push_back(value);
  return static_cast<PlanValueId>(plan.values.size() - 1);
}

PlanValueId step(Plan& plan, const std::string& op, std::vector<PlanValueId> inputs,
                 int64_t columns) {
  const PlanValueId out = add_value(plan, Kind::kActivation, columns);
  plan.steps.push_back({op, "", std::move(inputs), {out}, {}});
  return out;
}

ArenaLayout lay_out(const Plan& plan, int64_t tokens = 4) {
  check(plan, "test");
  return lay_out_arena(plan, {tokens, tokens, tokens}, [](DType dtype) { return dtype; });
}

TEST(Arena, SharesMemoryOfValuesThatAreDone) {
  Plan plan;
  const PlanValueId x = add_value(plan, Kind::kInput, 16);
  const PlanValueId a = step(plan, "linear", {x}, 16);
  const PlanValueId b = step(plan, "linear", {a}, 16);
  const PlanValueId c = step(plan, "linear", {b}, 16);
  plan.logits = c;
  const ArenaLayout layout = lay_out(plan);
  EXPECT_EQ(layout.unshared_bytes, 3 * 256);
  EXPECT_EQ(layout.bytes, 2 * 256);
  EXPECT_EQ(layout.offsets[x], -1);
  EXPECT_EQ(layout.offsets[a], layout.offsets[c]);
  EXPECT_NE(layout.offsets[a], layout.offsets[b]);
}

TEST(Arena, LetsAnElementwiseOpTakeOverItsInput) {
  Plan plan;
  const PlanValueId x = add_value(plan, Kind::kInput, 16);
  const PlanValueId a = step(plan, "linear", {x}, 16);
  const PlanValueId b = step(plan, "activation", {a}, 16);
  plan.logits = b;
  EXPECT_EQ(lay_out(plan).bytes, 256);

  // The second operand serves when the first is still needed.
  Plan other;
  const PlanValueId y = add_value(other, Kind::kInput, 16);
  const PlanValueId p = step(other, "linear", {y}, 16);
  const PlanValueId q = step(other, "linear", {p}, 16);
  const PlanValueId r = step(other, "add", {p, q}, 16);
  other.logits = step(other, "linear", {p, r}, 16);
  const ArenaLayout layout = lay_out(other);
  EXPECT_EQ(layout.offsets[r], layout.offsets[q]);
  EXPECT_NE(layout.offsets[r], layout.offsets[p]);
}

TEST(Arena, GivesBothResultsOfANormTheirOwnMemory) {
  Plan plan;
  const PlanValueId in = add_value(plan, Kind::kInput, 16);
  const PlanValueId x = step(plan, "linear", {in}, 16);
  // x is both operands: only one of the results may take it over.
  const PlanValueId y = add_value(plan, Kind::kActivation, 16);
  const PlanValueId sum = add_value(plan, Kind::kActivation, 16);
  plan.steps.push_back({"add_rms_norm", "", {x, x}, {y, sum}, {}});
  plan.logits = step(plan, "linear", {y, sum}, 16);
  const ArenaLayout layout = lay_out(plan);
  EXPECT_EQ(layout.offsets[sum], layout.offsets[x]);
  EXPECT_NE(layout.offsets[sum], layout.offsets[y]);
}

TEST(Arena, KeepsABaseAsLongAsItsViews) {
  Plan plan;
  const PlanValueId in = add_value(plan, Kind::kInput, 16);
  const PlanValueId base = step(plan, "linear", {in}, 32);
  const PlanValueId view = add_value(plan, Kind::kView, 16, base, 16);
  const PlanValueId other = step(plan, "linear", {in}, 32);
  plan.logits = step(plan, "linear", {view, other}, 16);
  const ArenaLayout layout = lay_out(plan);
  EXPECT_EQ(layout.offsets[view], -1);
  EXPECT_NE(layout.offsets[base], layout.offsets[other]);
}

TEST(Arena, RefusesSizesThatOverflow) {
  Plan plan;
  const PlanValueId in = add_value(plan, Kind::kInput, 16);
  plan.logits = step(plan, "linear", {in}, int64_t{1} << 39);
  EXPECT_THROW(lay_out(plan, int64_t{1} << 39), Error);
}

// A random plan with views, ropes in place, ops with two results and ops that take over.
Plan random_plan(std::mt19937& random) {
  Plan plan;
  const auto pick = [&](size_t n) { return static_cast<size_t>(random() % n); };
  std::vector<PlanValueId> live = {add_value(plan, Kind::kInput, 16)};
  constexpr const char* kOps[] = {"linear", "activation", "add", "rope", "add_rms_norm", "mul"};
  for (int i = 0; i < 30; ++i) {
    const std::string op = kOps[pick(std::size(kOps))];
    const PlanValueId a = live[pick(live.size())];
    const PlanValueId b = live[pick(live.size())];
    const auto columns = static_cast<int64_t>(16 * (1 + pick(3)));
    PlanValueId out = -1;
    if (op == "add_rms_norm") {
      out = add_value(plan, Kind::kActivation, columns);
      const PlanValueId sum = add_value(plan, Kind::kActivation, columns);
      plan.steps.push_back({op, "", {a, b}, {out, sum}, {}});
      live.push_back(sum);
    } else {
      out = step(plan, op, {a, b}, columns);
    }
    if (pick(3) == 0 && columns >= 32) {  // goes on as a view, or as a view that rope turns
      const PlanValueId view = add_value(plan, Kind::kView, 16, out, 16);
      if (pick(2) == 0) {
        const PlanValueId turned = add_value(plan, Kind::kView, 16, out, 16);
        plan.steps.push_back({"rope", "", {view}, {turned}, {}});
        live.push_back(turned);
      } else {
        live.push_back(view);
      }
    } else {
      live.push_back(out);
    }
    if (live.size() > 5) live.erase(live.begin() + static_cast<int>(pick(live.size())));
  }
  plan.logits = step(plan, "linear", {live.back()}, 16);
  return plan;
}

// Executes the plan on memory cells that hold the id of the value that wrote them last.
void expect_every_read_finds_its_value(const Plan& plan, const ArenaLayout& layout,
                                       int64_t tokens) {
  std::vector<PlanValueId> cells(static_cast<size_t>(layout.bytes / 64), -1);
  const auto range = [&](PlanValueId id) {
    const int64_t bytes = round_up(plan.values[id].type.dims[1].size * tokens * 4, 64);
    return std::pair(layout.offsets[id] / 64, (layout.offsets[id] + bytes) / 64);
  };
  const auto memory = [&](PlanValueId id) {
    return plan.values[id].kind == Kind::kView ? plan.values[id].base : id;
  };
  const auto expect_held = [&](PlanValueId id) {
    if (plan.values[memory(id)].kind != Kind::kActivation) return;
    const auto [begin, end] = range(memory(id));
    for (int64_t cell = begin; cell < end; ++cell) ASSERT_EQ(cells[cell], memory(id));
  };
  for (const Instruction& instruction : plan.steps) {
    for (PlanValueId id : instruction.inputs) expect_held(id);
    for (PlanValueId id : instruction.outputs) {
      if (plan.values[id].kind != Kind::kActivation) continue;
      const auto [begin, end] = range(id);
      ASSERT_LE(end, static_cast<int64_t>(cells.size()));
      // Only inputs that are taken over whole may lie where an output goes.
      for (PlanValueId in : instruction.inputs)
        if (plan.values[memory(in)].kind == Kind::kActivation &&
            (plan.values[in].kind == Kind::kView || range(in) != std::pair(begin, end))) {
          const auto [first, last] = range(memory(in));
          ASSERT_TRUE(last <= begin || end <= first) << instruction.op;
        }
      for (int64_t cell = begin; cell < end; ++cell) cells[cell] = id;
    }
    for (PlanValueId id : instruction.outputs) expect_held(id);
  }
  expect_held(plan.logits);
}

TEST(Arena, NeverOverwritesALiveValue) {
  for (unsigned seed = 0; seed < 500; ++seed) {
    std::mt19937 random(seed);
    const Plan plan = random_plan(random);
    const int64_t tokens = 1 + static_cast<int64_t>(random() % 5);
    const ArenaLayout layout = lay_out(plan, tokens);
    ASSERT_NO_FATAL_FAILURE(expect_every_read_finds_its_value(plan, layout, tokens))
        << "seed " << seed;
    ASSERT_FALSE(HasFatalFailure()) << "seed " << seed;
    ASSERT_LE(layout.bytes, layout.unshared_bytes) << "seed " << seed;
    for (int64_t offset : layout.offsets)
      ASSERT_TRUE(offset == -1 || offset % 64 == 0) << "seed " << seed;
  }
}

}  // namespace
}  // namespace brayton
