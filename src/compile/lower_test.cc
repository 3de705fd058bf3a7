// Lowering puts weight-only nodes into the load, columns into views, and turns a rope in place
// exactly when nobody reads those columns as they were.
#include "compile/lower.h"

#include <gtest/gtest.h>

#include "brayton/error.h"
#include "engine/arena.h"
#include "testing/pass_test.h"

namespace brayton {
namespace {

using Kind = PlanValue::Kind;

const std::string kStart = R"(
  %0 = input {name="token_ids"} : i32[T]
  %1 = weight {name="table"} : bf16[16, 8]
  %2 = embedding(%0, %1) {dtype="bf16"} : bf16[T, 8]
  %3 = input {name="positions"} : i32[T]
  %4 = constant {values=[1.0, 0.1]} : f32[2]
  %5 = weight {name="q"} : bf16[8, 8]
  %6 = weight {name="kv"} : bf16[8, 8]
  %7 = concat(%5, %6) {axis=0} : bf16[16, 8]
  %8 = linear(%2, %7) : bf16[T, 16]
)";
const std::string kRope = " {head_dim=4, interleaved=false, scale=1.0} : ";

std::string attention(int layer, int kv_heads = 1) {
  return " {head_dim=4, heads=2, kv_heads=" + std::to_string(kv_heads) +
         ", layer=" + std::to_string(layer) + ", scale=0.5, softcap=0.0, window=0} : bf16[T, 8]\n";
}

Plan lower_text(const std::string& body) {
  return lower(parse_graph(testing::graph_text(kStart + body)));
}

const Instruction& only(const Plan& plan, const std::string& op) {
  const Instruction* found = nullptr;
  for (const Instruction& step : plan.steps)
    if (step.op == op) {
      EXPECT_EQ(found, nullptr) << op;
      found = &step;
    }
  return *found;
}

const PlanValue& result(const Plan& plan, const std::string& op) {
  return plan.values.at(only(plan, op).outputs.at(0));
}

TEST(Lower, DividesLoadFromStep) {
  const Plan plan = lower_text(R"(
    %9 = slice(%8) {axis=1, begin=0, end=8} : bf16[T, 8]
    %10 = slice(%8) {axis=1, begin=8, end=16} : bf16[T, 8]
    %11 = slice(%10) {axis=1, begin=0, end=4} : bf16[T, 4]
    %12 = slice(%10) {axis=1, begin=4, end=8} : bf16[T, 4]
    %13 = attention(%9, %11, %12))" +
                               attention(0) + "return logits=%13");
  ASSERT_EQ(plan.load.size(), 1u);
  EXPECT_EQ(plan.load[0].op, "concat");
  EXPECT_EQ(plan.values[plan.load[0].outputs[0]].kind, Kind::kLoaded);
  ASSERT_EQ(plan.steps.size(), 3u);
  EXPECT_EQ(plan.steps[0].op, "embedding");
  EXPECT_EQ(plan.steps[1].op, "linear");
  // A slice of a slice is columns of the first value.
  const Instruction& step = plan.steps[2];
  const PlanValueId base = plan.steps[1].outputs[0];
  const int64_t begins[] = {0, 8, 12};
  for (int i = 0; i < 3; ++i) {
    const PlanValue& view = plan.values[step.inputs[i]];
    EXPECT_EQ(view.kind, Kind::kView);
    EXPECT_EQ(view.base, base);
    EXPECT_EQ(view.begin, begins[i]);
  }
  EXPECT_EQ(plan.logits, step.outputs[0]);
  EXPECT_EQ(plan.attentions, 1);
  EXPECT_EQ(plan.kv_heads, 1);
  EXPECT_EQ(plan.head_dim, 4);
  EXPECT_EQ(plan.dtype, DType::kBF16);
}

TEST(Lower, TurnsRopeInPlaceOfItsColumns) {
  const Plan plan = lower_text(R"(
    %9 = slice(%8) {axis=1, begin=8, end=12} : bf16[T, 4]
    %10 = rope(%9, %3, %4))" + kRope +
                               R"(bf16[T, 4]
    %11 = slice(%8) {axis=1, begin=0, end=8} : bf16[T, 8]
    %12 = slice(%8) {axis=1, begin=12, end=16} : bf16[T, 4]
    %13 = attention(%11, %10, %12))" +
                               attention(0) + "return logits=%13");
  const PlanValue& turned = result(plan, "rope");
  EXPECT_EQ(turned.kind, Kind::kView);
  EXPECT_EQ(turned.begin, 8);
  EXPECT_EQ(turned.base, only(plan, "linear").outputs[0]);
  // The arena holds the embedding's, the linear's and the attention's results only.
  const ArenaLayout layout = lay_out_arena(plan, {.tokens = 8}, [](DType) { return DType::kF32; });
  EXPECT_EQ(layout.unshared_bytes, 8 * 4 * (8 + 16 + 8));
}

TEST(Lower, RopeGetsItsOwnMemoryWhenTheColumnsAreStillRead) {
  const std::string rope = R"(
    %9 = slice(%8) {axis=1, begin=0, end=8} : bf16[T, 8]
    %10 = rope(%9, %3, %4))" +
                           kRope + "bf16[T, 8]\n";
  // By the same slice, by another that overlaps, by the base.
  EXPECT_EQ(result(lower_text(rope + R"(
                     %11 = add(%10, %9) : bf16[T, 8]
                     return logits=%11)"),
                   "rope")
                .kind,
            Kind::kActivation);
  EXPECT_EQ(result(lower_text(rope + R"(
                     %11 = slice(%8) {axis=1, begin=4, end=12} : bf16[T, 8]
                     %12 = add(%10, %11) : bf16[T, 8]
                     return logits=%12)"),
                   "rope")
                .kind,
            Kind::kActivation);
  EXPECT_EQ(result(lower_text(rope + R"(
                     %11 = weight {name="o"} : bf16[8, 16]
                     %12 = linear(%8, %11) : bf16[T, 8]
                     %13 = mul(%10, %12) : bf16[T, 8]
                     return logits=%13)"),
                   "rope")
                .kind,
            Kind::kActivation);
  // The result is cut again.
  EXPECT_EQ(result(lower_text(rope + R"(
                     %11 = slice(%10) {axis=1, begin=0, end=4} : bf16[T, 4]
                     %12 = activation(%11) {kind="relu"} : bf16[T, 4]
                     return logits=%12)"),
                   "rope")
                .kind,
            Kind::kActivation);
  // Rope of a whole value needs no view: the arena lets it take the memory over.
  EXPECT_EQ(result(lower_text(R"(
                     %9 = rope(%8, %3, %4))" +
                              kRope + R"(bf16[T, 16]
                     return logits=%9)"),
                   "rope")
                .kind,
            Kind::kActivation);
}

std::string fault_of(const std::string& body) {
  try {
    lower_text(body);
  } catch (const Error& fault) {
    return fault.what();
  }
  return "no fault";
}

TEST(Lower, RefusesWhatOneCacheCannotServe) {
  const std::string slices = R"(
    %9 = slice(%8) {axis=1, begin=0, end=8} : bf16[T, 8]
    %10 = slice(%8) {axis=1, begin=8, end=12} : bf16[T, 4]
    %11 = attention(%9, %10, %10))" +
                             attention(0);
  EXPECT_EQ(
      fault_of(slices + "%12 = attention(%11, %9, %9)" + attention(1, 2) + "return logits=%12"),
      "[lower] every attention must have 1 key heads of 4, got 2 of 4");
  EXPECT_EQ(
      fault_of(slices + "%12 = attention(%11, %10, %10)" + attention(0) + "return logits=%12"),
      "[lower] attention layers must be numbered 0 to 1, each once, got 0");
  EXPECT_EQ(fault_of("return logits=%0"), "[lower] output 'logits' must be the result of an op");
}

}  // namespace
}  // namespace brayton
