#include "ops/load_ops.h"

#include <algorithm>
#include <cstring>

#include "core/checked_math.h"
#include "core/format.h"
#include "ops/quant_blocks.h"

namespace brayton {
namespace {

using Inputs = std::vector<TensorView>;

template <class... Args>
[[noreturn]] void fail(std::string_view op, fmt::format_string<Args...> text, Args&&... args) {
  throw_error(ErrorCode::kInvalidModel, "[{}] {}", op,
              fmt::format(text, std::forward<Args>(args)...));
}

[[noreturn]] void cuts_rows(std::string_view op, DType dtype) {
  throw_error(ErrorCode::kUnsupported,
              "[{}] rows of {} must stay whole: convert the weight to a plain type first", op,
              dtype_name(dtype));
}

TensorView allocate(DType dtype, const Shape& shape, std::vector<std::byte>& storage) {
  storage.resize(static_cast<size_t>(storage_bytes(dtype, shape)));
  return {storage.data(), dtype, shape};
}

// Element i of dimension 0.
TensorView inner(const TensorView& view, int64_t i) {
  TensorView result = view;
  result.data = view.row(i);
  result.shape = Shape(view.shape.begin() + 1, view.shape.end());
  std::copy(view.strides.begin() + 1, view.strides.end(), result.strides.begin());
  return result;
}

// Both of the same type and shape, any strides.
void copy(const TensorView& from, const TensorView& to) {
  if (from.elements() == 0) return;
  if (from.contiguous() && to.contiguous()) {
    std::memcpy(to.data, from.data, static_cast<size_t>(from.bytes()));
    return;
  }
  for (int64_t i = 0; i < from.dim(0); ++i) copy(inner(from, i), inner(to, i));
}

// Calls visit(row of from, row of to) for contiguous runs of both.
template <class Visit>
void for_each_run(const TensorView& from, const TensorView& to, const Visit& visit) {
  if (from.elements() == 0) return;
  if (from.contiguous() && to.contiguous()) {
    visit(from.data, to.data, from.elements());
    return;
  }
  for (int64_t i = 0; i < from.dim(0); ++i) for_each_run(inner(from, i), inner(to, i), visit);
}

int64_t read_axis(std::string_view op, const TensorView& x, const Attributes& attributes) {
  const int64_t axis = attributes.get_int("axis");
  if (axis < 0 || axis >= x.rank()) fail(op, "axis must be in [0, {}), got {}", x.rank(), axis);
  if (is_quantized(x.dtype) && axis == x.rank() - 1) cuts_rows(op, x.dtype);
  return axis;
}

TensorView slice(const Inputs& in, const Attributes& attributes, std::vector<std::byte>&) {
  const TensorView& x = in[0];
  const int64_t axis = read_axis("slice", x, attributes);
  const int64_t begin = attributes.get_int("begin"), end = attributes.get_int("end");
  if (begin < 0 || begin > end || end > x.dim(static_cast<int>(axis)))
    fail("slice", "[begin, end) must lie in [0, {}), got [{}, {})", x.dim(static_cast<int>(axis)),
         begin, end);
  return x.slice(static_cast<int>(axis), begin, end);
}

TensorView concat(const Inputs& in, const Attributes& attributes, std::vector<std::byte>& storage) {
  const auto axis = static_cast<int>(read_axis("concat", in[0], attributes));
  Shape shape = in[0].shape;
  shape[axis] = 0;
  for (const TensorView& x : in) {
    Shape others = x.shape;
    if (x.rank() == in[0].rank()) others[axis] = in[0].dim(axis);
    if (x.dtype != in[0].dtype || others != in[0].shape)
      fail("concat", "inputs must be {}{} but for dimension {}, got {}{}", dtype_name(in[0].dtype),
           in[0].shape.str(), axis, dtype_name(x.dtype), x.shape.str());
    shape[axis] += x.dim(axis);
  }
  if (in.size() == 1) return in[0];
  const TensorView result = allocate(in[0].dtype, shape, storage);
  int64_t begin = 0;
  for (const TensorView& x : in) {
    copy(x, result.slice(axis, begin, begin + x.dim(axis)));
    begin += x.dim(axis);
  }
  return result;
}

TensorView reshape(const Inputs& in, const Attributes& attributes,
                   std::vector<std::byte>& storage) {
  const TensorView& x = in[0];
  const std::vector<int64_t> dims = attributes.get_ints("shape");
  if (dims.size() > Shape::kMaxRank)
    fail("reshape", "shape must have at most {} dimensions, got {}", Shape::kMaxRank, dims.size());
  std::optional<int64_t> elements = 1;
  for (int64_t dim : dims) {
    if (dim < 0) fail("reshape", "shape must have no negative dimension, got {}", dim);
    if (elements) elements = checked_mul(*elements, dim);
  }
  const Shape shape(dims.begin(), dims.end());
  if (elements != x.elements())
    fail("reshape", "shape must have the elements of {}, got {}", x.shape.str(), shape.str());
  storage_bytes(x.dtype, shape);
  if (is_quantized(x.dtype) && (x.rank() == 0 || shape.back() != x.shape.back()))
    cuts_rows("reshape", x.dtype);
  if (x.contiguous()) return x.reshape(shape);
  const TensorView packed = allocate(x.dtype, x.shape, storage);
  copy(x, packed);
  return packed.reshape(shape);
}

// By tiles, so that both sides are read and written in cache lines.
template <class T>
void transpose_elements(const TensorView& x, const TensorView& y) {
  constexpr int64_t kTile = 32;
  for (int64_t i0 = 0; i0 < x.dim(0); i0 += kTile) {
    const int64_t i1 = std::min(i0 + kTile, x.dim(0));
    for (int64_t j0 = 0; j0 < x.dim(1); j0 += kTile) {
      const int64_t j1 = std::min(j0 + kTile, x.dim(1));
      for (int64_t j = j0; j < j1; ++j) {
        T* out = y.row_as<T>(j);
        for (int64_t i = i0; i < i1; ++i) out[i] = x.row_as<const T>(i)[j];
      }
    }
  }
}

TensorView transpose(const Inputs& in, const Attributes&, std::vector<std::byte>& storage) {
  const TensorView& x = in[0];
  if (is_quantized(x.dtype)) cuts_rows("transpose", x.dtype);
  if (x.rank() != 2) fail("transpose", "x must be a matrix, got {}", x.shape.str());
  const TensorView y = allocate(x.dtype, {x.dim(1), x.dim(0)}, storage);
  switch (dtype_info(x.dtype).block_bytes) {
    case 1:
      transpose_elements<uint8_t>(x, y);
      break;
    case 2:
      transpose_elements<uint16_t>(x, y);
      break;
    case 4:
      transpose_elements<uint32_t>(x, y);
      break;
    default:
      transpose_elements<uint64_t>(x, y);
      break;
  }
  return y;
}

void check_floats(std::string_view op, DType from, DType to) {
  const bool source = is_float(from) || is_quantized(from);
  const bool target = to == DType::kF32 || to == DType::kF16 || to == DType::kBF16;
  if (!source || !target)
    throw_error(ErrorCode::kUnsupported, "[{}] must make f32, f16 or bf16 of floats, got {} of {}",
                op, dtype_name(to), dtype_name(from));
}

TensorView add_scalar(const Inputs& in, const Attributes& attributes,
                      std::vector<std::byte>& storage) {
  const TensorView& x = in[0];
  check_floats("add_scalar", x.dtype, x.dtype);
  const auto value = static_cast<float>(attributes.get_double("value"));
  const TensorView y = allocate(x.dtype, x.shape, storage);
  std::vector<float> numbers;
  for_each_run(x, y, [&](const void* from, void* to, int64_t count) {
    numbers.resize(static_cast<size_t>(count));
    to_f32(x.dtype, from, count, numbers.data());
    for (float& number : numbers) number += value;
    from_f32(x.dtype, numbers.data(), count, to);
  });
  return y;
}

TensorView convert(const Inputs& in, const Attributes& attributes,
                   std::vector<std::byte>& storage) {
  const TensorView& x = in[0];
  const std::string& name = attributes.get_string("dtype");
  const std::optional<DType> dtype = dtype_from_name(name);
  if (!dtype) fail("convert", "dtype must be an element type, got '{}'", name);
  if (*dtype == x.dtype) return x;
  check_floats("convert", x.dtype, *dtype);
  const TensorView y = allocate(*dtype, x.shape, storage);
  std::vector<float> numbers;
  for_each_run(x, y, [&](const void* from, void* to, int64_t count) {
    if (*dtype == DType::kF32) return to_f32(x.dtype, from, count, static_cast<float*>(to));
    numbers.resize(static_cast<size_t>(count));
    to_f32(x.dtype, from, count, numbers.data());
    from_f32(*dtype, numbers.data(), count, to);
  });
  return y;
}

struct LoadOp {
  std::string_view name;
  bool many;  // inputs: one or more, else exactly one
  TensorView (*evaluate)(const Inputs&, const Attributes&, std::vector<std::byte>&);
};

constexpr LoadOp kLoadOps[] = {
    {"concat", true, concat},        {"slice", false, slice},           {"reshape", false, reshape},
    {"transpose", false, transpose}, {"add_scalar", false, add_scalar}, {"convert", false, convert},
};

}  // namespace

TensorView evaluate_load_op(std::string_view op, const std::vector<TensorView>& inputs,
                            const Attributes& attributes, std::vector<std::byte>& storage) {
  for (const LoadOp& row : kLoadOps) {
    if (row.name != op) continue;
    if (inputs.empty() || (!row.many && inputs.size() != 1))
      fail(op, "must have {}, got {} inputs", row.many ? "an input" : "one input", inputs.size());
    return row.evaluate(inputs, attributes, storage);
  }
  throw_error(ErrorCode::kInvalidModel, "[load] '{}' is no op on weights", op);
}

}  // namespace brayton
