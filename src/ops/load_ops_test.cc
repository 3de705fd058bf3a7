// Rearrangements of weights give the elements that their definitions say, whatever the layout, and
// move no bytes where a view will do.
#include "ops/load_ops.h"

#include <gtest/gtest.h>

#include <numeric>

#include "brayton/error.h"
#include "ops/quant_blocks.h"

namespace brayton {
namespace {

struct Result {
  TensorView view;
  std::vector<std::byte> storage;
};

Result evaluate(const std::string& op, const std::vector<TensorView>& inputs,
                const Attributes& attributes) {
  Result result;
  result.view = evaluate_load_op(op, inputs, attributes, result.storage);
  return result;
}

std::string fault_of(const std::string& op, const std::vector<TensorView>& inputs,
                     const Attributes& attributes) {
  try {
    evaluate(op, inputs, attributes);
  } catch (const Error& fault) {
    return fault.what();
  }
  return "no fault";
}

// 0, 1, 2, ... in the shape.
struct Counting {
  explicit Counting(const Shape& shape) : numbers(static_cast<size_t>(shape.elements())) {
    std::iota(numbers.begin(), numbers.end(), 0.0f);
    view = {numbers.data(), DType::kF32, shape};
  }
  std::vector<float> numbers;
  TensorView view;
};

std::vector<float> elements(const TensorView& view) {
  std::vector<std::byte> storage;
  const TensorView flat = evaluate_load_op(
      "reshape", {view}, {{"shape", std::vector<int64_t>{view.elements()}}}, storage);
  const float* begin = flat.as<const float>();
  return {begin, begin + flat.elements()};
}

const Attributes kAxis0 = {{"axis", int64_t{0}}};
const Attributes kAxis1 = {{"axis", int64_t{1}}};

Attributes range(int64_t axis, int64_t begin, int64_t end) {
  return {{"axis", axis}, {"begin", begin}, {"end", end}};
}

TEST(LoadOps, SlicesAreViews) {
  const Counting x({3, 4});
  const Result rows = evaluate("slice", {x.view}, range(0, 1, 3));
  EXPECT_EQ(rows.view.data, x.numbers.data() + 4);
  EXPECT_EQ(rows.view.shape, Shape({2, 4}));
  const Result columns = evaluate("slice", {x.view}, range(1, 1, 3));
  EXPECT_TRUE(columns.storage.empty());
  EXPECT_EQ(elements(columns.view), (std::vector<float>{1, 2, 5, 6, 9, 10}));
}

TEST(LoadOps, ConcatenatesAlongBothAxes) {
  const Counting a({2, 3}), b({1, 3}), c({2, 1});
  const Result rows = evaluate("concat", {a.view, b.view}, kAxis0);
  EXPECT_EQ(rows.view.shape, Shape({3, 3}));
  EXPECT_EQ(elements(rows.view), (std::vector<float>{0, 1, 2, 3, 4, 5, 0, 1, 2}));
  const Result columns = evaluate("concat", {a.view, c.view}, kAxis1);
  EXPECT_EQ(elements(columns.view), (std::vector<float>{0, 1, 2, 0, 3, 4, 5, 1}));
  EXPECT_EQ(evaluate("concat", {a.view}, kAxis0).view.data, a.numbers.data());
}

TEST(LoadOps, RespectStrides) {
  const Counting x({4, 6});
  const TensorView part = x.view.slice(1, 2, 4).slice(0, 1, 3);  // [[8, 9], [14, 15]]
  EXPECT_EQ(elements(part), (std::vector<float>{8, 9, 14, 15}));
  EXPECT_EQ(elements(evaluate("concat", {part, part}, kAxis0).view),
            (std::vector<float>{8, 9, 14, 15, 8, 9, 14, 15}));
  const Result turned = evaluate("transpose", {part}, {});
  EXPECT_EQ(elements(turned.view), (std::vector<float>{8, 14, 9, 15}));
  const Result sum = evaluate("add_scalar", {part}, {{"value", 1.0}});
  EXPECT_EQ(elements(sum.view), (std::vector<float>{9, 10, 15, 16}));
  const Result half = evaluate("convert", {part}, {{"dtype", std::string("f16")}});
  const Result back = evaluate("convert", {half.view}, {{"dtype", std::string("f32")}});
  EXPECT_EQ(elements(back.view), elements(part));
}

TEST(LoadOps, TransposesEverySizeOfElement) {
  for (const DType dtype : {DType::kI8, DType::kBF16, DType::kF32, DType::kF64}) {
    const int64_t rows = 37, columns = 70;
    const auto size = static_cast<int64_t>(dtype_info(dtype).block_bytes);
    std::vector<uint8_t> bytes(static_cast<size_t>(rows * columns * size));
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 131 >> 3);
    const TensorView x(bytes.data(), dtype, {rows, columns});
    const Result y = evaluate("transpose", {x}, {});
    EXPECT_EQ(y.view.shape, Shape({columns, rows}));
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < columns; ++j)
        ASSERT_TRUE(std::equal(x.row_as<uint8_t>(i) + j * size,
                               x.row_as<uint8_t>(i) + (j + 1) * size,
                               y.view.row_as<uint8_t>(j) + i * size))
            << dtype_name(dtype) << " " << i << " " << j;
  }
}

TEST(LoadOps, ReshapesWithoutACopyWhereTheBytesAllow) {
  const Counting x({4, 6});
  const Attributes shape = {{"shape", std::vector<int64_t>{2, 12}}};
  EXPECT_EQ(evaluate("reshape", {x.view}, shape).view.data, x.numbers.data());
  EXPECT_EQ(fault_of("reshape", {x.view}, {{"shape", std::vector<int64_t>{5, 5}}}),
            "[reshape] shape must have the elements of [4, 6], got [5, 5]");
  EXPECT_EQ(fault_of("reshape", {x.view}, {{"shape", std::vector<int64_t>{-4, -6}}}),
            "[reshape] shape must have no negative dimension, got -4");
}

TEST(LoadOps, KeepRowsOfBlocksWhole) {
  const Counting x({6, 64});
  std::vector<std::byte> blocks(static_cast<size_t>(storage_bytes(DType::kQ8_0, {6, 64})));
  from_f32(DType::kQ8_0, x.numbers.data(), 6 * 64, blocks.data());
  const TensorView q(blocks.data(), DType::kQ8_0, {6, 64});

  const auto row = static_cast<size_t>(q.row_bytes());
  const Result last = evaluate("slice", {q}, range(0, 4, 6));
  EXPECT_EQ(last.view.data, blocks.data() + 4 * row);
  const Result swapped =
      evaluate("concat", {last.view, evaluate("slice", {q}, range(0, 0, 4)).view}, kAxis0);
  EXPECT_TRUE(std::equal(swapped.storage.begin(), swapped.storage.begin() + 2 * row,
                         blocks.begin() + 4 * row));
  EXPECT_TRUE(std::equal(swapped.storage.begin() + 2 * row, swapped.storage.end(), blocks.begin()));

  // GPT-NeoX's interleaved rows: [2 heads, 3, 1] -> q | k | v.
  const Result heads = evaluate("reshape", {q}, {{"shape", std::vector<int64_t>{2, 3, 1, 64}}});
  const Result k = evaluate("slice", {heads.view}, range(1, 1, 2));
  const Result flat = evaluate("reshape", {k.view}, {{"shape", std::vector<int64_t>{2, 64}}});
  EXPECT_TRUE(std::equal(flat.storage.begin(), flat.storage.begin() + row, blocks.begin() + row));
  EXPECT_TRUE(std::equal(flat.storage.begin() + row, flat.storage.end(), blocks.begin() + 4 * row));

  const std::string remedy =
      " rows of q8_0 must stay whole: convert the weight to a plain type first";
  EXPECT_EQ(fault_of("slice", {q}, range(1, 0, 32)), "[slice]" + remedy);
  EXPECT_EQ(fault_of("concat", {q, q}, kAxis1), "[concat]" + remedy);
  EXPECT_EQ(fault_of("transpose", {q}, {}), "[transpose]" + remedy);
  EXPECT_EQ(fault_of("reshape", {q}, {{"shape", std::vector<int64_t>{3, 128}}}),
            "[reshape]" + remedy);
  EXPECT_EQ(fault_of("add_scalar", {q}, {{"value", 1.0}}),
            "[add_scalar] must make f32, f16 or bf16 of floats, got q8_0 of q8_0");
  const Result plain = evaluate("convert", {q}, {{"dtype", std::string("f32")}});
  EXPECT_NEAR(elements(plain.view)[5 * 64 + 63], 383.0f, 2.0f);
}

TEST(LoadOps, SayWhatIsWrong) {
  const Counting x({4, 6}), y({4, 5});
  EXPECT_EQ(fault_of("slice", {x.view}, range(0, 3, 5)),
            "[slice] [begin, end) must lie in [0, 4), got [3, 5)");
  EXPECT_EQ(fault_of("slice", {x.view}, range(2, 0, 1)), "[slice] axis must be in [0, 2), got 2");
  EXPECT_EQ(fault_of("concat", {x.view, y.view}, kAxis0),
            "[concat] inputs must be f32[4, 6] but for dimension 0, got f32[4, 5]");
  EXPECT_EQ(fault_of("slice", {x.view, y.view}, range(0, 0, 1)),
            "[slice] must have one input, got 2 inputs");
  EXPECT_EQ(fault_of("softmax", {x.view}, {}), "[load] 'softmax' is no op on weights");
}

}  // namespace
}  // namespace brayton
