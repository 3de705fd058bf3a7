// Attributes give back what was set, and say which name is missing or of another type.
#include "ops/attributes.h"

#include <gtest/gtest.h>

#include "testing/op_test.h"

namespace brayton {
namespace {

using testing::error_of;

TEST(Attributes, GiveBackEachType) {
  const Attributes a = {{"b", true},
                        {"i", int64_t{-3}},
                        {"d", 0.5},
                        {"s", std::string("silu")},
                        {"is", std::vector<int64_t>{1, 2}},
                        {"ds", std::vector<double>{0.5}}};
  EXPECT_TRUE(a.get_bool("b"));
  EXPECT_EQ(a.get_int("i"), -3);
  EXPECT_EQ(a.get_double("d"), 0.5);
  EXPECT_EQ(a.get_string("s"), "silu");
  EXPECT_EQ(a.get_ints("is"), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(a.get_doubles("ds"), std::vector<double>{0.5});
  EXPECT_TRUE(a.has("b"));
  EXPECT_FALSE(a.has("c"));
}

TEST(Attributes, IntegersServeAsNumbers) {
  const Attributes a = {{"i", int64_t{2}}, {"is", std::vector<int64_t>{1, 2}}};
  EXPECT_EQ(a.get_double("i"), 2.0);
  EXPECT_EQ(a.get_doubles("is"), (std::vector<double>{1.0, 2.0}));
}

TEST(Attributes, ErrorsNameTheAttribute) {
  const Attributes a = {{"eps", std::string("x")}, {"n", 1.5}};
  EXPECT_EQ(error_of([&] { a.get_int("axis"); }),
            "[attributes] 'axis' must be given, but is missing");
  EXPECT_EQ(error_of([&] { a.get_double("eps"); }),
            "[attributes] 'eps' must be a number, got a string");
  EXPECT_EQ(error_of([&] { a.get_int("n"); }), "[attributes] 'n' must be an integer, got a number");
  EXPECT_EQ(error_of([&] { a.get_ints("n"); }),
            "[attributes] 'n' must be a list of integers, got a number");
}

}  // namespace
}  // namespace brayton
