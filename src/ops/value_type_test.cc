// A value type prints and parses back, and takes its run-time dimensions from the step.
#include "ops/value_type.h"

#include <gtest/gtest.h>

#include "testing/op_test.h"

namespace brayton {
namespace {

using testing::error_of;

TEST(ValueType, PrintsAndParsesBack) {
  for (const char* text : {"bf16[T, 4096]", "f32[]", "i32[R]", "q4_1[8192, 128]", "u8[S, 0]",
                           "f16[1, 2, 3, 4, 5, 1099511627776]"})
    EXPECT_EQ(parse_value_type(text).str(), text);
}

TEST(ValueType, TakesRunTimeDimensionsFromTheStep) {
  const ValueType type{DType::kF32, {Dim::of('T'), 8, Dim::of('R'), Dim::of('S')}};
  EXPECT_FALSE(type.is_constant());
  EXPECT_EQ(type.shape({.tokens = 5, .rows = 3, .sequences = 2}), Shape({5, 8, 3, 2}));
  EXPECT_EQ(ValueType({DType::kF32, {2, 3}}).shape(), Shape({2, 3}));
  EXPECT_NE(error_of([&] { type.shape(); }).find("check failed: is_constant()"), std::string::npos);
  EXPECT_EQ(error_of([] { StepSizes().of(Dim::of('Q')); }),
            "[type] no run-time dimension is called 'Q'");
}

TEST(ValueType, ErrorsSayWhatIsWrong) {
  const auto error = [](const std::string& text) {
    return error_of([&] { parse_value_type(text); });
  };
  EXPECT_EQ(error("f32"), "[type] a type must read like 'bf16[T, 4096]', got 'f32'");
  EXPECT_EQ(error(""), "[type] a type must read like 'bf16[T, 4096]', got ''");
  EXPECT_EQ(error("f31[2]"), "[type] no element type is called 'f31', in 'f31[2]'");
  for (const char* dim :
       {"Q", "-1", "1.5", "", " ", "2 ", "0x10", "1099511627777", "99999999999999999999"}) {
    const std::string text = "f32[1, " + std::string(dim) + "]";
    EXPECT_NE(error(text).find("must be T, R, S or an integer in [0, 1099511627776], got"),
              std::string::npos)
        << text;
  }
  EXPECT_EQ(error("f32[1, 1, 1, 1, 1, 1, 1]"),
            "[type] 'f32[1, 1, 1, 1, 1, 1, 1]' must have at most 6 dimensions");
}

}  // namespace
}  // namespace brayton
