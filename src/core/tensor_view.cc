#include "brayton/tensor_view.h"

#include <algorithm>
#include <optional>

#include "core/check.h"
#include "core/checked_math.h"

namespace brayton {
namespace {

int64_t extend(int64_t product, int64_t dim, const Shape& shape) {
  const std::optional<int64_t> longer = checked_mul(product, dim);
  if (!longer)
    throw_error(ErrorCode::kInvalidArgument, "[shape] {} must have fewer than 2^63 elements",
                shape.str());
  return *longer;
}

}  // namespace

Shape::Shape(std::initializer_list<int64_t> dims) : Shape(dims.begin(), dims.end()) {}

void Shape::push_back(int64_t dim) {
  if (rank_ == kMaxRank)
    throw_error(ErrorCode::kInvalidArgument, "[shape] rank must be at most {}", kMaxRank);
  dims_[rank_++] = dim;
}

int64_t Shape::elements() const {
  int64_t product = 1;
  for (int64_t dim : *this) product = extend(product, dim, *this);
  return product;
}

std::string Shape::str() const { return format("[{}]", fmt::join(begin(), end(), ", ")); }

int64_t storage_bytes(DType dtype, const Shape& shape) {
  const DTypeInfo& info = dtype_info(dtype);
  if ((shape.rank() == 0 ? 1 : shape.back()) % info.block_elements != 0)
    throw_error(ErrorCode::kInvalidModel,
                "[tensor] the last dimension of {} must be a multiple of {} in {}", shape.str(),
                info.block_elements, info.name);
  // An empty dimension counts as one here: strides must fit as well.
  std::optional<int64_t> extent = info.block_bytes;
  bool empty = false;
  for (int64_t dim : shape) {
    if (dim < 0)
      throw_error(ErrorCode::kInvalidModel, "[tensor] dimensions must be at least 0, got {}",
                  shape.str());
    empty = empty || dim == 0;
    extent = checked_mul<int64_t>(*extent, std::max<int64_t>(dim, 1));
    if (!extent)
      throw_error(ErrorCode::kInvalidModel, "[tensor] {} in {} must have fewer than 2^63 bytes",
                  shape.str(), info.name);
  }
  return empty ? 0 : *extent / info.block_elements;
}

TensorView::TensorView(void* data, DType dtype, const Shape& shape)
    : data(data), dtype(dtype), shape(shape) {
  int64_t stride = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    strides[i] = stride;
    stride = extend(stride, shape[i], shape);
  }
}

bool TensorView::contiguous() const {
  if (elements() == 0) return true;
  int64_t stride = 1;
  for (int i = rank() - 1; i >= 0; --i) {
    if (shape[i] != 1 && strides[i] != stride) return false;
    stride *= shape[i];
  }
  return true;
}

int64_t TensorView::bytes() const { return storage_bytes(dtype, shape); }

int64_t TensorView::row_bytes() const {
  const DTypeInfo& info = dtype_info(dtype);
  return rank() == 0 ? info.block_bytes : shape.back() / info.block_elements * info.block_bytes;
}

void* TensorView::row(int64_t i) const {
  const DTypeInfo& info = dtype_info(dtype);
  return as<std::byte>() + i * strides[0] / info.block_elements * info.block_bytes;
}

TensorView TensorView::slice(int axis, int64_t begin, int64_t end) const {
  BRAYTON_CHECK(axis >= 0 && axis < rank());
  BRAYTON_CHECK(begin >= 0 && begin <= end && end <= shape[axis]);
  const DTypeInfo& info = dtype_info(dtype);
  const int64_t skipped = begin * strides[axis];
  BRAYTON_CHECK_EQ(skipped % info.block_elements, 0);
  if (axis + 1 == rank()) BRAYTON_CHECK_EQ((end - begin) % info.block_elements, 0);
  TensorView view = *this;
  view.data = as<std::byte>() + skipped / info.block_elements * info.block_bytes;
  view.shape[axis] = end - begin;
  return view;
}

TensorView TensorView::reshape(const Shape& to) const {
  BRAYTON_CHECK(contiguous());
  BRAYTON_CHECK_EQ(to.elements(), elements());
  return {data, dtype, to};
}

}  // namespace brayton
