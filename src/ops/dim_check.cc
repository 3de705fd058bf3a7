#include "ops/dim_check.h"

#include <string>

#include "core/check.h"

namespace brayton {
namespace {

std::string spelled(std::initializer_list<NamedDim> dims) {
  std::string text;
  for (const NamedDim& dim : dims) {
    text += text.empty() ? "[" : ", ";
    text += dim.text;
  }
  return text + "]";
}

}  // namespace

const int64_t* DimCheck::find(std::string_view name) const {
  for (int i = 0; i < count_; ++i)
    if (bound_[i].name == name) return &bound_[i].size;
  return nullptr;
}

int64_t DimCheck::operator[](std::string_view dim) const {
  const int64_t* size = find(dim);
  BRAYTON_CHECK(size != nullptr);
  return *size;
}

void DimCheck::match(std::string_view tensor, const NamedDim& dim, int64_t size) {
  if (dim.text == "*") return;
  const int64_t* bound = dim.name.empty() ? nullptr : find(dim.name);
  if (bound == nullptr && !dim.name.empty()) {
    const int64_t rest = size - dim.offset;
    if (rest < 0 || rest % dim.factor != 0)
      throw_error(ErrorCode::kInvalidArgument, "[{}] {}.{} must be {}, got {}", op_, tensor,
                  dim.text,
                  dim.factor > 1 ? format("a multiple of {}", dim.factor)
                                 : format("at least {}", dim.offset),
                  size);
    BRAYTON_CHECK_LT(count_, static_cast<int>(bound_.size()));
    bound_[count_++] = {dim.name, rest / dim.factor};
    return;
  }
  const int64_t wanted = (bound != nullptr ? *bound * dim.factor : 0) + dim.offset;
  if (size == wanted) return;
  if (bound == nullptr)
    throw_error(ErrorCode::kInvalidArgument, "[{}] {} must have a dimension of {}, got {}", op_,
                tensor, wanted, size);
  throw_error(ErrorCode::kInvalidArgument, "[{}] {}.{} must be {}, got {}", op_, tensor, dim.text,
              wanted, size);
}

DimCheck& DimCheck::dims(const TensorView& tensor, std::string_view name,
                         std::initializer_list<NamedDim> dims) {
  const int rank = static_cast<int>(dims.size());
  if (tensor.rank() != rank)
    throw_error(ErrorCode::kInvalidArgument, "[{}] {} must be {}, got {}{}", op_, name,
                spelled(dims), tensor.rank() == 0 && !tensor ? "no tensor" : "",
                tensor.rank() == 0 && !tensor ? "" : tensor.shape.str());
  bool empty = false;
  int axis = 0;
  for (const NamedDim& dim : dims) {
    empty |= tensor.dim(axis) == 0;
    match(name, dim, tensor.dim(axis++));
  }
  if (!tensor && !empty)
    throw_error(ErrorCode::kInvalidArgument, "[{}] {} must be {}, got a null pointer", op_, name,
                spelled(dims));
  if (tensor.dim(rank - 1) > 1 && tensor.strides[rank - 1] != 1)
    throw_error(ErrorCode::kInvalidArgument, "[{}] {}'s last stride must be 1, got {}", op_, name,
                tensor.strides[rank - 1]);
  return *this;
}

DimCheck& DimCheck::dtype(const TensorView& tensor, std::string_view name, DType dtype) {
  if (tensor.dtype != dtype)
    throw_error(ErrorCode::kInvalidArgument, "[{}] {} must be {}, got {}", op_, name,
                dtype_name(dtype), dtype_name(tensor.dtype));
  return *this;
}

DimCheck& DimCheck::activations(
    std::initializer_list<std::pair<const TensorView*, std::string_view>> tensors) {
  const auto& [first, first_name] = *tensors.begin();
  for (const auto& [tensor, name] : tensors) {
    if (!*tensor) continue;
    const DType dtype = tensor->dtype;
    if (dtype != DType::kF32 && dtype != DType::kF16 && dtype != DType::kBF16)
      throw_error(ErrorCode::kInvalidArgument, "[{}] {} must be f32, f16 or bf16, got {}", op_,
                  name, dtype_name(dtype));
    if (*first && dtype != first->dtype)
      throw_error(ErrorCode::kInvalidArgument, "[{}] {} must be {} as {} is, got {}", op_, name,
                  dtype_name(first->dtype), first_name, dtype_name(dtype));
  }
  return *this;
}

DimCheck& DimCheck::weight(const TensorView& tensor, std::string_view name) {
  if (!is_float(tensor.dtype) && !is_quantized(tensor.dtype))
    throw_error(ErrorCode::kInvalidArgument, "[{}] {} must be a float or block type, got {}", op_,
                name, dtype_name(tensor.dtype));
  return *this;
}

DimCheck& DimCheck::contiguous(const TensorView& tensor, std::string_view name) {
  if (!tensor.contiguous())
    throw_error(ErrorCode::kInvalidArgument, "[{}] {} must be contiguous, got strides [{}]", op_,
                name,
                fmt::join(tensor.strides.begin(), tensor.strides.begin() + tensor.rank(), ", "));
  return *this;
}

DimCheck& DimCheck::needs(const TensorView& tensor, std::string_view name, const TensorView& other,
                          std::string_view other_name) {
  if (tensor && !other)
    throw_error(ErrorCode::kInvalidArgument, "[{}] {} must be given with {}, got {} alone", op_,
                other_name, name, name);
  return *this;
}

DimCheck& DimCheck::at_least(std::string_view name, int64_t value, int64_t least) {
  if (value < least)
    throw_error(ErrorCode::kInvalidArgument, "[{}] {} must be at least {}, got {}", op_, name,
                least, value);
  return *this;
}

DimCheck& DimCheck::at_most(std::string_view name, int64_t value, std::string_view bound_name,
                            int64_t bound) {
  if (value > bound)
    throw_error(ErrorCode::kInvalidArgument, "[{}] {} must be at most {} {}, got {}", op_, name,
                bound_name, bound, value);
  return *this;
}

DimCheck& DimCheck::multiple(std::string_view name, int64_t value, std::string_view of_name,
                             int64_t of) {
  if (of == 0 || value % of != 0)
    throw_error(ErrorCode::kInvalidArgument, "[{}] {} must be a multiple of {} {}, got {}", op_,
                name, of_name, of, value);
  return *this;
}

}  // namespace brayton
