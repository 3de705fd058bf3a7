// A plan survives the way through JSON, and a damaged one is refused by name instead of followed.
#include "engine/plan.h"

#include <gtest/gtest.h>

#include "core/format.h"
#include "testing/mutate.h"

namespace brayton {
namespace {

using Kind = PlanValue::Kind;

PlanValue value(Kind kind, const std::string& type, const std::string& name = "") {
  PlanValue result;
  result.kind = kind;
  result.type = parse_value_type(type);
  result.name = name;
  return result;
}

PlanValue view(const std::string& type, PlanValueId base, int64_t begin) {
  PlanValue result = value(Kind::kView, type);
  result.base = base;
  result.begin = begin;
  return result;
}

// A layer with a loaded weight, two views, and a rope that turns one of them in place.
Plan small_plan() {
  Plan plan;
  PlanValue numbers = value(Kind::kConstant, "f32[2]");
  numbers.numbers = {1.0f, 0.1f};
  plan.values = {
      value(Kind::kInput, "i32[T]", "token_ids"),     // 0
      value(Kind::kWeight, "q8_0[64, 32]", "table"),  // 1
      value(Kind::kWeight, "bf16[8, 32]", "q"),       // 2
      value(Kind::kLoaded, "bf16[16, 32]"),           // 3
      numbers,                                        // 4
      value(Kind::kActivation, "f32[T, 32]"),         // 5
      value(Kind::kActivation, "f32[T, 16]"),         // 6
      view("f32[T, 8]", 6, 0),                        // 7
      view("f32[T, 8]", 6, 8),                        // 8
      view("f32[T, 8]", 6, 0),                        // 9: 7, turned
      value(Kind::kActivation, "f32[T, 8]"),          // 10
  };
  plan.load = {{"concat", "", {2, 2}, {3}, {{"axis", int64_t{0}}}}};
  plan.steps = {
      {"embedding", "", {0, 1}, {5}, {}},
      {"linear", "packed", {5, 3, -1}, {6}, {}},
      {"rope", "", {7, 0, 4}, {9}, {{"scale", 0.5}, {"interleaved", true}}},
      {"mul", "", {9, 8}, {10}, {{"name", std::string("x")}, {"list", std::vector<double>{0.25}}}},
  };
  plan.logits = 10;
  plan.attentions = 3;
  plan.kv_heads = 2;
  plan.head_dim = 64;
  plan.dtype = DType::kBF16;
  return plan;
}

std::string fault_of(const Plan& plan) {
  try {
    check(plan, "file");
  } catch (const Error& fault) {
    EXPECT_EQ(fault.code(), ErrorCode::kInvalidModel);
    return fault.what();
  }
  return "no fault";
}

TEST(Plan, SurvivesJson) {
  const Plan plan = small_plan();
  const std::string text = to_json(plan).dump();
  const Plan back = plan_from_json(parse_json(text, "file"), "file");
  EXPECT_EQ(to_json(back).dump(), text);
  EXPECT_EQ(back.dtype, DType::kBF16);
  EXPECT_EQ(back.head_dim, 64);
  EXPECT_EQ(back.values[4].numbers, plan.values[4].numbers);
  EXPECT_EQ(back.steps[3].attributes, plan.steps[3].attributes);
  EXPECT_EQ(back.steps[1].inputs, plan.steps[1].inputs);
  EXPECT_EQ(back.load[0].attributes, plan.load[0].attributes);
}

TEST(Plan, RefusesIdsThatAreNoValues) {
  Plan plan = small_plan();
  plan.steps[1].inputs[0] = 11;
  EXPECT_EQ(fault_of(plan), "[file] steps[1] reads value 11, of 11 values");
  plan = small_plan();
  plan.steps[1].outputs[0] = -1;
  EXPECT_EQ(fault_of(plan), "[file] steps[1] writes value -1, of 11 values");
  plan = small_plan();
  plan.logits = 3;
  EXPECT_EQ(fault_of(plan), "[file] logits must be an activation, got 3");
}

TEST(Plan, RefusesTheWrongOrder) {
  Plan plan = small_plan();
  std::swap(plan.steps[0], plan.steps[1]);
  EXPECT_EQ(fault_of(plan), "[file] steps[0] reads value 5 before its definition");
  plan = small_plan();
  plan.steps[3].outputs = {5};
  EXPECT_EQ(fault_of(plan), "[file] steps[3] writes value 5, which is defined already");
  plan = small_plan();
  plan.load[0].inputs[0] = 0;
  EXPECT_EQ(fault_of(plan), "[file] load[0] must read weights only, got value 0");
  plan = small_plan();
  plan.steps[3].outputs = {3};
  EXPECT_EQ(fault_of(plan), "[file] steps[3] must write an activation or a view, got value 3");
}

TEST(Plan, RefusesAReadOfWhatWasWrittenInPlace) {
  Plan plan = small_plan();
  plan.steps[3].inputs[0] = 7;
  EXPECT_EQ(fault_of(plan),
            "[file] steps[3] reads value 7, whose columns steps[2] has written in place");
  plan.steps[3].inputs[0] = 6;
  EXPECT_EQ(fault_of(plan),
            "[file] steps[3] reads value 6, whose columns steps[2] has written in place");
  plan.steps[3].inputs[0] = 8;  // other columns
  EXPECT_EQ(fault_of(plan), "no fault");
}

TEST(Plan, RefusesViewsOutsideTheirBase) {
  Plan plan = small_plan();
  plan.values[8].begin = 9;
  EXPECT_EQ(fault_of(plan),
            "[file] values[8] must be columns of f32[T, 16], got f32[T, 8] at column 9");
  plan.values[8] = view("f32[R, 8]", 6, 8);
  EXPECT_EQ(fault_of(plan),
            "[file] values[8] must be columns of f32[T, 16], got f32[R, 8] at column 8");
  plan.values[8] = view("f32[T, 8]", 7, 0);
  EXPECT_EQ(fault_of(plan), "[file] values[8].base must be an activation listed before it, got 7");
}

TEST(Plan, NamesTheFieldThatIsWrong) {
  Json json = to_json(small_plan());
  json["steps"][1]["inputs"][0] = "five";
  try {
    plan_from_json(json, "file");
    FAIL();
  } catch (const Error& fault) {
    EXPECT_STREQ(fault.what(),
                 "[file: steps[1]] field 'inputs' must list ids of values, got \"five\"");
  }
  json = to_json(small_plan());
  json["dtype"] = "i32";
  EXPECT_THROW(plan_from_json(json, "file"), Error);
  json = to_json(small_plan());
  json["values"][4]["numbers"].push_back(1);
  EXPECT_THROW(plan_from_json(json, "file"), Error);
}

TEST(Plan, SurvivesAnyDamageOfItsJson) {
  const std::string good = to_json(small_plan()).dump();
  int accepted = 0;
  for (uint64_t seed = 0; seed < 4000; ++seed) {
    testing::Mutator mutator(seed);
    try {
      const Plan plan = plan_from_json(parse_json(mutator.mutate_json(good), "file"), "file");
      check(plan, "file");
      ++accepted;
    } catch (const Error& fault) {
      ASSERT_NE(fault.code(), ErrorCode::kInternal) << "seed " << seed << ": " << fault.what();
    }
  }
  EXPECT_LT(accepted, 2000);
}

}  // namespace
}  // namespace brayton
