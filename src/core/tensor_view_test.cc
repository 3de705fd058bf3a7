// A view finds its elements by shape and strides, and no shape of a file can make it overflow.
#include "brayton/tensor_view.h"

#include <gtest/gtest.h>

#include <limits>
#include <numeric>
#include <vector>

#include "brayton/error.h"

namespace brayton {
namespace {

template <class Call>
std::string message_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(ShapeTest, PrintsComparesAndCounts) {
  const Shape shape{2, 3, 4};
  EXPECT_EQ(shape.str(), "[2, 3, 4]");
  EXPECT_EQ(shape.elements(), 24);
  EXPECT_EQ(shape.back(), 4);
  EXPECT_EQ(shape, (Shape{2, 3, 4}));
  EXPECT_FALSE(shape == (Shape{2, 3}));
  EXPECT_FALSE(shape == (Shape{2, 3, 5}));
  EXPECT_EQ(Shape{}.elements(), 1);
  EXPECT_EQ(Shape{}.str(), "[]");
  EXPECT_EQ((Shape{3, 0}).elements(), 0);
}

TEST(ShapeTest, RankAndElementsAreLimited) {
  const std::vector<int64_t> seven(7, 1);
  EXPECT_EQ(message_of([&] { Shape(seven.begin(), seven.end()); }),
            "[shape] rank must be at most 6");
  const Shape huge{int64_t{1} << 32, int64_t{1} << 31};
  EXPECT_EQ(message_of([&] { huge.elements(); }),
            "[shape] [4294967296, 2147483648] must have fewer than 2^63 elements");
}

TEST(StorageTest, CountsBytesOfPlainAndBlockTypes) {
  EXPECT_EQ(storage_bytes(DType::kF32, {}), 4);
  EXPECT_EQ(storage_bytes(DType::kBF16, {3, 5}), 30);
  EXPECT_EQ(storage_bytes(DType::kQ4_1, {3, 64}), 3 * 2 * 20);
  EXPECT_EQ(storage_bytes(DType::kQ6_K, {2, 512}), 2 * 2 * 210);
  EXPECT_EQ(storage_bytes(DType::kF32, {3, 0, 5}), 0);
}

TEST(StorageTest, RefusesWhatIsNoTensor) {
  const int64_t big = int64_t{1} << 40;
  const std::string multiple = "must be a multiple of 32 in q4_0";
  EXPECT_EQ(message_of([] { storage_bytes(DType::kQ4_0, {2, 33}); }),
            "[tensor] the last dimension of [2, 33] " + multiple);
  EXPECT_EQ(message_of([] { storage_bytes(DType::kQ4_0, {}); }),
            "[tensor] the last dimension of [] " + multiple);
  EXPECT_EQ(message_of([] { storage_bytes(DType::kF32, {2, -1}); }),
            "[tensor] dimensions must be at least 0, got [2, -1]");
  EXPECT_EQ(message_of([&] { storage_bytes(DType::kF16, {big, big}); }),
            "[tensor] [1099511627776, 1099511627776] in f16 must have fewer than 2^63 bytes");
  // Empty, but its strides would overflow, whichever dimension it is that is empty.
  EXPECT_NE(message_of([&] { storage_bytes(DType::kF16, {0, big, big}); }), "no error");
  EXPECT_NE(message_of([&] { storage_bytes(DType::kF16, {big, big, 0}); }), "no error");
  EXPECT_NE(message_of([&] { storage_bytes(DType::kF32, {std::numeric_limits<int64_t>::max()}); }),
            "no error");
  EXPECT_NE(message_of([&] { storage_bytes(DType::kQ2_K, {int64_t{1} << 62, 256}); }), "no error");
}

class ViewTest : public testing::Test {
 protected:
  ViewTest() { std::iota(values_.begin(), values_.end(), 0.0f); }

  std::vector<float> values_ = std::vector<float>(24);
  TensorView view_{values_.data(), DType::kF32, {2, 3, 4}};
};

TEST_F(ViewTest, StridesAreRowMajor) {
  EXPECT_EQ(view_.strides[0], 12);
  EXPECT_EQ(view_.strides[1], 4);
  EXPECT_EQ(view_.strides[2], 1);
  EXPECT_TRUE(view_.contiguous());
  EXPECT_EQ(view_.bytes(), 96);
  EXPECT_EQ(view_.row_bytes(), 16);
  EXPECT_EQ(*view_.row_as<float>(1), 12.0f);
}

TEST_F(ViewTest, SlicesShareMemory) {
  const TensorView inner = view_.slice(1, 1, 3);
  EXPECT_EQ(inner.shape, (Shape{2, 2, 4}));
  EXPECT_FALSE(inner.contiguous());
  EXPECT_EQ(*inner.as<float>(), 4.0f);
  EXPECT_EQ(*inner.row_as<float>(1), 16.0f);
  const TensorView both = inner.slice(2, 2, 4).slice(0, 1, 2);
  EXPECT_EQ(both.shape, (Shape{1, 2, 2}));
  EXPECT_EQ(*both.as<float>(), 18.0f);
  EXPECT_TRUE(view_.slice(0, 1, 2).contiguous());
  EXPECT_TRUE(view_.slice(2, 1, 1).contiguous()) << "an empty view";
}

TEST_F(ViewTest, ReshapeKeepsTheElements) {
  const TensorView flat = view_.slice(0, 1, 2).reshape({4, 3});
  EXPECT_EQ(*flat.row_as<float>(3), 21.0f);
  EXPECT_NE(message_of([&] { view_.reshape({5, 5}); }).find("(25 against 24)"), std::string::npos);
  EXPECT_NE(message_of([&] { view_.slice(1, 0, 2).reshape({16}); }).find("contiguous()"),
            std::string::npos);
}

TEST_F(ViewTest, BadSlicesAreBugs) {
  for (const auto& [axis, begin, end] :
       std::vector<std::array<int, 3>>{{-1, 0, 1}, {3, 0, 1}, {0, -1, 1}, {0, 2, 1}, {0, 0, 3}}) {
    EXPECT_NE(message_of([&, a = axis, b = begin, e = end] {
                view_.slice(a, b, e);
              }).find("this is a bug"),
              std::string::npos);
  }
}

TEST(BlockViewTest, RowsAndSlicesCountWholeBlocks) {
  std::vector<std::byte> bytes(3 * 2 * 18);
  const TensorView view(bytes.data(), DType::kQ4_0, {3, 64});
  EXPECT_EQ(view.row_bytes(), 36);
  EXPECT_EQ(view.row_as<std::byte>(2), bytes.data() + 72);
  EXPECT_EQ(view.slice(0, 1, 3).as<std::byte>(), bytes.data() + 36);
  EXPECT_EQ(view.slice(1, 32, 64).as<std::byte>(), bytes.data() + 18);
  EXPECT_EQ(view.slice(1, 32, 64).row_bytes(), 18);
  EXPECT_NE(message_of([&] { view.slice(1, 16, 64); }), "no error");
  EXPECT_NE(message_of([&] { view.slice(1, 0, 16); }), "no error");
}

TEST(ViewOverflowTest, StridesThatOverflowAreAnError) {
  const int64_t big = int64_t{1} << 40;
  EXPECT_EQ(
      message_of([&] { TensorView(static_cast<void*>(nullptr), DType::kF32, Shape{0, big, big}); }),
      "[shape] [0, 1099511627776, 1099511627776] must have fewer than 2^63 elements");
}

}  // namespace
}  // namespace brayton
