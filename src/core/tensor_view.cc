#include "brayton/tensor_view.h"

#include "core/check.h"
#include "core/checked_math.h"

namespace brayton {

Shape::Shape(std::initializer_list<int64_t> dims) : Shape(dims.begin(), dims.end()) {}

void Shape::push_back(int64_t dim) {
  if (rank_ == kMaxRank)
    throw_error(ErrorCode::kInvalidArgument, "[shape] rank must be at most {}", kMaxRank);
  dims_[rank_++] = dim;
}

int64_t Shape::elements() const {
  int64_t product = 1;
  for (int64_t dim : *this) product *= dim;
  return product;
}

std::string Shape::str() const { return format("[{}]", fmt::join(begin(), end(), ", ")); }

int64_t storage_bytes(DType dtype, const Shape& shape) {
  const DTypeInfo& info = dtype_info(dtype);
  std::optional<int64_t> bytes = info.block_bytes;
  for (int i = 0; i < shape.rank(); ++i) {
    int64_t dim = shape[i];
    if (i + 1 == shape.rank()) {
      if (dim % info.block_elements != 0)
        throw_error(ErrorCode::kInvalidModel,
                    "[tensor] the last dimension of {} must be a multiple of {} in {}", shape.str(),
                    info.block_elements, info.name);
      dim /= info.block_elements;
    }
    if (dim < 0 || !bytes) {
      bytes.reset();
      break;
    }
    bytes = checked_mul<int64_t>(*bytes, dim);
  }
  if (!bytes)
    throw_error(ErrorCode::kInvalidModel, "[tensor] shape {} is no size of a tensor", shape.str());
  return *bytes;
}

TensorView::TensorView(void* data, DType dtype, const Shape& shape)
    : data(data), dtype(dtype), shape(shape) {
  int64_t stride = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    strides[i] = stride;
    stride *= shape[i];
  }
}

bool TensorView::contiguous() const {
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
