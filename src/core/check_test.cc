// Failed checks print both values, size arithmetic never wraps, log lines obey the level, and every
// finish reason has its name.
#include "core/check.h"

#include <gtest/gtest.h>

#include <limits>

#include "brayton/request.h"
#include "core/checked_math.h"
#include "core/log.h"

namespace brayton {
namespace {

TEST(CheckTest, PrintsTheExpressionAndBothValues) {
  const int have = 3;
  try {
    BRAYTON_CHECK_EQ(have + 1, 5);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInternal);
    EXPECT_NE(std::string(error.what()).find("check failed: have + 1 == 5 (4 against 5)"),
              std::string::npos)
        << error.what();
  }
  EXPECT_THROW(BRAYTON_CHECK(have == 4), Error);
  EXPECT_THROW(BRAYTON_CHECK_LT(have, 3), Error);
  EXPECT_THROW(BRAYTON_CHECK_LE(have, 2), Error);
  EXPECT_THROW(BRAYTON_CHECK_GE(have, 4), Error);
  EXPECT_NO_THROW(BRAYTON_CHECK_LE(have, 3));
}

TEST(CheckTest, EvaluatesItsArgumentsOnce) {
  int calls = 0;
  BRAYTON_CHECK_EQ(++calls, 1);
  EXPECT_EQ(calls, 1);
}

TEST(CheckedMathTest, OverflowIsNoValue) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  EXPECT_EQ(checked_add<int64_t>(kMax - 1, 1), kMax);
  EXPECT_EQ(checked_add<int64_t>(kMax, 1), std::nullopt);
  EXPECT_EQ(checked_mul<int64_t>(kMax, -1), -kMax);
  EXPECT_EQ(checked_mul<int64_t>(kMax / 2 + 1, 2), std::nullopt);
  EXPECT_EQ(checked_mul<uint64_t>(uint64_t{1} << 63, 2), std::nullopt);
  EXPECT_EQ(round_up(64, 64), 64);
  EXPECT_EQ(round_up(65, 64), 128);
  EXPECT_EQ(ceil_div(7, 3), 3);
}

TEST(FinishReasonTest, NamesAreThoseOfTheInterface) {
  const char* names[] = {"none", "eos", "stop", "length", "cancelled", "error"};
  for (int i = 0; i < 6; ++i)
    EXPECT_STREQ(finish_reason_name(static_cast<FinishReason>(i)), names[i]);
  EXPECT_THROW(finish_reason_name(static_cast<FinishReason>(6)), Error);
}

TEST(LogTest, GoesToStderrFromTheLevelOn) {
  testing::internal::CaptureStderr();
  set_log_level(LogLevel::kInfo);
  log_debug("hidden {}", 1);
  log_info("shown {}", 2);
  log_line(LogLevel::kWarning, "braces {} stay");
  set_log_level(LogLevel::kOff);
  log_warning("hidden {}", 3);
  set_log_level(LogLevel::kWarning);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "info: shown 2\nwarning: braces {} stay\n");
}

}  // namespace
}  // namespace brayton
