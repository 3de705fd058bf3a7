// plan_for_device joins what a backend computes as one, and leaves everything else alone.
#include "program/device_plan.h"

#include <gtest/gtest.h>

#include "compile/lower.h"
#include "graph/graph_builder.h"

namespace brayton {
namespace {

constexpr Fusions kAll{.linear_activation = true, .append_kv = true};

// One layer: qkv in one matrix, rotary positions in place, a gated MLP.
Plan gated_layer() {
  GraphBuilder g("test", DType::kBF16, {});
  const Value x = g.embedding(g.token_ids(), g.weight(Scope("table"), {32, 16}));
  const Value qkv = g.linear(x, g.weight(Scope("qkv"), {32, 16}));
  const RopeOptions rope{.inv_freq = {1.0, 0.5}};
  const Value q = g.rope(g.slice(qkv, 1, 0, 16), g.positions(), 4, rope);
  const Value k = g.rope(g.slice(qkv, 1, 16, 24), g.positions(), 4, rope);
  const Value v = g.slice(qkv, 1, 24, 32);
  const Value y = g.attention(q, k, v, {.heads = 4, .kv_heads = 2, .head_dim = 4});
  const Value up = g.linear(y, g.weight(Scope("gate_up"), {24, 16}));
  const Value gate = g.activation(g.slice(up, 1, 0, 12), ActivationKind::kSilu);
  const Value hidden = gate * g.slice(up, 1, 12, 24);
  const Value rows =
      g.gather_rows(g.linear(hidden, g.weight(Scope("down"), {16, 12})), g.logit_rows());
  return lower(g.finish(g.linear(rows, g.weight(Scope("head"), {32, 16}))));
}

std::vector<std::string> ops(const Plan& plan) {
  std::vector<std::string> result;
  for (const Instruction& step : plan.steps) result.push_back(step.op);
  return result;
}

using Ops = std::vector<std::string>;

TEST(DevicePlan, RopesAndTheCacheBecomeOneStep) {
  const Plan before = gated_layer();
  const Plan after = plan_for_device(before, kAll);
  EXPECT_EQ(std::ranges::count(ops(before), "rope"), 2);
  EXPECT_EQ(std::ranges::count(ops(after), "rope"), 0);
  const auto append = std::ranges::find(after.steps, "append_kv", &Instruction::op);
  ASSERT_NE(append, after.steps.end());
  const Instruction& attention = *(append + 1);
  EXPECT_EQ(attention.op, "attention");
  EXPECT_EQ(attention.inputs[0], append->outputs[0]);
  EXPECT_EQ(attention.inputs[1], -1);
  EXPECT_EQ(attention.inputs[2], -1);
  ASSERT_EQ(append->inputs.size(), 5u);
  EXPECT_GE(append->inputs[4], 0);
  EXPECT_EQ(append->attributes.get_int("kv_heads"), 2);
  EXPECT_EQ(append->attributes.get_int("layer"), 0);
}

TEST(DevicePlan, ALinearTakesItsActivation) {
  Plan plan;
  const ValueType type{DType::kBF16, {Dim::of('T'), Dim(8)}};
  const ValueType half{DType::kBF16, {Dim::of('T'), Dim(4)}};
  plan.values = {{.type = type},
                 {.kind = PlanValue::Kind::kWeight, .type = {DType::kBF16, {Dim(8), Dim(8)}}},
                 {.type = type},
                 {.type = half}};
  plan.steps = {{"linear", "", {0, 1}, {2}, {}},
                {"gated_activation", "", {2}, {3}, {{"kind", std::string("silu")}}}};
  plan.logits = 3;
  const Plan after = plan_for_device(plan, kAll);
  ASSERT_EQ(ops(after), Ops{"linear"});
  EXPECT_EQ(after.steps[0].outputs, std::vector<PlanValueId>{3});
  EXPECT_EQ(after.steps[0].attributes.get_string("activation"), "silu");
  EXPECT_TRUE(after.steps[0].attributes.get_bool("gated"));

  plan.steps.push_back({"add", "", {2, 0}, {2}, {}});  // somebody else reads it
  EXPECT_EQ(plan_for_device(plan, kAll).steps.size(), 3u);
}

TEST(DevicePlan, NothingIsJoinedForABackendThatCannot) {
  const Plan plan = gated_layer();
  EXPECT_EQ(ops(plan_for_device(plan, {})), ops(plan));
}

}  // namespace
}  // namespace brayton
