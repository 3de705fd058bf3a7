// What tests of ops and kernels share: tensors that own their memory, random contents, comparison.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <new>
#include <random>
#include <string>
#include <vector>

#include "brayton/error.h"
#include "brayton/tensor_view.h"
#include "core/check.h"
#include "ops/float_element.h"

namespace brayton::testing {

// Another on every run; a test prints it with SCOPED_TRACE(seed_text(seed)).
inline uint32_t fresh_seed() { return std::random_device{}(); }
inline std::string seed_text(uint32_t seed) { return format("seed {}", seed); }

// Memory for one tensor. It starts poisoned: 0xff bytes are NaN in every float type.
class Tensor {
 public:
  Tensor() = default;
  // Rows of dimension 0 lie `row_gap` elements further apart than they need to.
  Tensor(DType dtype, const Shape& shape, int64_t row_gap = 0)
      : view_(static_cast<void*>(nullptr), dtype, shape) {
    int64_t bytes = view_.bytes();
    if (row_gap > 0 && shape.rank() > 1) {
      BRAYTON_CHECK_EQ(dtype_info(dtype).block_elements, 1);
      view_.strides[0] += row_gap;
      bytes = shape[0] * view_.strides[0] * dtype_info(dtype).block_bytes;
    }
    memory_.assign(static_cast<size_t>(bytes) + kAlignment, std::byte{0xff});
    const auto address = reinterpret_cast<uintptr_t>(memory_.data());
    view_.data = memory_.data() + (kAlignment - address % kAlignment) % kAlignment;
  }
  static Tensor of(const Shape& shape, const std::vector<float>& values) {
    Tensor tensor(DType::kF32, shape);
    std::copy(values.begin(), values.end(), tensor.view_.as<float>());
    return tensor;
  }
  static Tensor of_i32(const std::vector<int32_t>& values) {
    return of_i32({static_cast<int64_t>(values.size())}, values);
  }
  static Tensor of_i32(const Shape& shape, const std::vector<int32_t>& values) {
    Tensor tensor(DType::kI32, shape);
    std::copy(values.begin(), values.end(), tensor.view_.as<int32_t>());
    return tensor;
  }
  Tensor(Tensor&&) = default;  // the memory keeps its address
  Tensor& operator=(Tensor&&) = default;

  const TensorView& view() const { return view_; }
  operator const TensorView&() const { return view_; }  // NOLINT: stands for its view
  void poison() { std::fill(memory_.begin(), memory_.end(), std::byte{0xff}); }
  void copy_from(const Tensor& other) {
    BRAYTON_CHECK_EQ(memory_.size(), other.memory_.size());
    std::memcpy(view_.data, other.view_.data, memory_.size() - kAlignment);
  }

 private:
  static constexpr size_t kAlignment = 64;
  std::vector<std::byte> memory_;
  TensorView view_;
};

// Calls visit(element offset) for every element of a view, in order.
template <class Visit>
void for_each_element(const TensorView& view, const Visit& visit) {
  const int64_t count = view.elements();
  for (int64_t n = 0; n < count; ++n) {
    int64_t rest = n;
    int64_t offset = 0;
    for (int axis = view.rank() - 1; axis >= 0; --axis) {
      offset += rest % view.dim(axis) * view.strides[axis];
      rest /= view.dim(axis);
    }
    visit(offset);
  }
}

inline void fill_normal(const TensorView& view, std::mt19937& random, float deviation = 1.0f) {
  std::normal_distribution<float> normal(0.0f, deviation);
  for_each_element(view,
                   [&](int64_t at) { store_float(view.dtype, view.data, at, normal(random)); });
}

inline Tensor normal_tensor(DType dtype, const Shape& shape, std::mt19937& random,
                            float deviation = 1.0f, int64_t row_gap = 0) {
  Tensor tensor(dtype, shape, row_gap);
  fill_normal(tensor, random, deviation);
  return tensor;
}

inline std::vector<float> values(const TensorView& view) {
  std::vector<float> result;
  for_each_element(view,
                   [&](int64_t at) { result.push_back(load_float(view.dtype, view.data, at)); });
  return result;
}

// |actual - expected| <= absolute + relative * |expected|, element by element. NaN is never close.
struct Tolerance {
  double absolute = 0.0;
  double relative = 0.0;
};

inline void expect_close(const std::vector<float>& actual, const std::vector<float>& expected,
                         Tolerance tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  size_t wrong = 0;
  size_t worst = 0;
  double excess = 0.0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double distance = std::abs(double{actual[i]} - expected[i]);
    const double allowed = tolerance.absolute + tolerance.relative * std::abs(double{expected[i]});
    if (distance <= allowed) continue;
    ++wrong;
    const double over = std::isnan(distance) ? HUGE_VAL : distance - allowed;
    if (wrong == 1 || over > excess) {
      excess = over;
      worst = i;
    }
  }
  EXPECT_EQ(wrong, 0u) << "of " << actual.size() << "; the worst is element " << worst << ": "
                       << actual[worst] << ", expected " << expected[worst];
}

inline void expect_close(const TensorView& actual, const TensorView& expected,
                         Tolerance tolerance) {
  ASSERT_EQ(actual.shape, expected.shape) << actual.shape.str() << expected.shape.str();
  expect_close(values(actual), values(expected), tolerance);
}

// Bit for bit, NaN included.
inline void expect_same_bits(const TensorView& actual, const TensorView& expected) {
  ASSERT_EQ(actual.shape, expected.shape) << actual.shape.str() << expected.shape.str();
  const std::vector<float> a = values(actual);
  const std::vector<float> b = values(expected);
  for (size_t i = 0; i < a.size(); ++i)
    ASSERT_EQ(std::bit_cast<uint32_t>(a[i]), std::bit_cast<uint32_t>(b[i]))
        << "element " << i << ": " << a[i] << " against " << b[i];
}

// The message of the Error that `call` throws; "" when it throws none.
inline std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace brayton::testing
