// A non-owning view of a tensor: pointer, type, shape, strides.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "brayton/dtype.h"

namespace brayton {

// Up to kMaxRank dimensions, outermost first.
class Shape {
 public:
  static constexpr int kMaxRank = 6;

  Shape() = default;
  Shape(std::initializer_list<int64_t> dims);
  template <class It>
  Shape(It first, It last) {
    for (; first != last; ++first) push_back(*first);
  }

  int rank() const { return rank_; }
  int64_t operator[](int i) const { return dims_[i]; }
  int64_t& operator[](int i) { return dims_[i]; }
  int64_t back() const { return dims_[rank_ - 1]; }
  void push_back(int64_t dim);  // throws Error beyond kMaxRank
  const int64_t* begin() const { return dims_.data(); }
  const int64_t* end() const { return dims_.data() + rank_; }
  int64_t elements() const;  // product of the dimensions, 1 for rank 0; throws Error on overflow
  std::string str() const;   // "[2, 3]"
  friend bool operator==(const Shape& a, const Shape& b) {
    if (a.rank_ != b.rank_) return false;
    for (int i = 0; i < a.rank_; ++i)
      if (a.dims_[i] != b.dims_[i]) return false;
    return true;
  }

 private:
  std::array<int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

// Row-major unless `strides` says otherwise. Strides count elements of a plain type; the last one
// is always 1. Block formats are contiguous. The memory belongs to whoever made the view.
struct TensorView {
  void* data = nullptr;
  DType dtype = DType::kF32;
  Shape shape;
  std::array<int64_t, Shape::kMaxRank> strides{};

  TensorView() = default;
  TensorView(void* data, DType dtype, const Shape& shape);  // contiguous
  TensorView(const void* data, DType dtype, const Shape& shape)
      : TensorView(const_cast<void*>(data), dtype, shape) {}

  explicit operator bool() const { return data != nullptr; }
  int rank() const { return shape.rank(); }
  int64_t dim(int i) const { return shape[i]; }
  int64_t elements() const { return shape.elements(); }
  bool contiguous() const;
  int64_t bytes() const;      // of a contiguous tensor of this shape
  int64_t row_bytes() const;  // of one contiguous run along the last dimension

  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
  // Address of row `i` of dimension 0.
  void* row(int64_t i) const;
  template <class T>
  T* row_as(int64_t i) const {
    return static_cast<T*>(row(i));
  }
  // Elements [begin, end) of dimension `axis`; no copy.
  TensorView slice(int axis, int64_t begin, int64_t end) const;
  // The same elements under another shape; contiguous tensors only.
  TensorView reshape(const Shape& shape) const;
};

// Bytes of `shape` in `dtype`; throws Error(kInvalidModel) for a negative dimension, a row that is
// not whole blocks, and sizes or strides that overflow. Check shapes from files with it first.
int64_t storage_bytes(DType dtype, const Shape& shape);

}  // namespace brayton
