#include "ops/value_type.h"

#include <algorithm>
#include <charconv>

#include "core/check.h"

namespace brayton {
namespace {

constexpr std::string_view kSymbols = "TRS";
constexpr int64_t kMaxDim = int64_t{1} << 40;

Dim parse_dim(std::string_view text, const std::string& whole) {
  if (text.size() == 1 && kSymbols.find(text[0]) != std::string_view::npos) return Dim::of(text[0]);
  int64_t size = -1;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), size);
  if (fault != std::errc() || end != text.data() + text.size() || size < 0 || size > kMaxDim)
    throw_error(ErrorCode::kInvalidModel,
                "[type] a dimension of '{}' must be T, R, S or an integer in [0, {}], got '{}'",
                whole, kMaxDim, text);
  return size;
}

}  // namespace

int64_t StepSizes::of(const Dim& dim) const {
  switch (dim.symbol) {
    case '\0':
      return dim.size;
    case 'T':
      return tokens;
    case 'R':
      return rows;
    case 'S':
      return sequences;
  }
  throw_error(ErrorCode::kInternal, "[type] no run-time dimension is called '{}'", dim.symbol);
}

bool ValueType::is_constant() const {
  return std::ranges::all_of(dims, [](const Dim& dim) { return dim.is_constant(); });
}

Shape ValueType::shape(const StepSizes& sizes) const {
  Shape shape;
  for (const Dim& dim : dims) shape.push_back(sizes.of(dim));
  return shape;
}

Shape ValueType::shape() const {
  BRAYTON_CHECK(is_constant());
  return shape(StepSizes());
}

std::string ValueType::str() const {
  std::string text(dtype_name(dtype));
  text += '[';
  for (size_t i = 0; i < dims.size(); ++i) {
    if (i > 0) text += ", ";
    text += dims[i].str();
  }
  return text + ']';
}

ValueType parse_value_type(const std::string& text) {
  const size_t open = text.find('[');
  if (open == std::string::npos || text.back() != ']')
    throw_error(ErrorCode::kInvalidModel, "[type] a type must read like 'bf16[T, 4096]', got '{}'",
                text);
  const std::string name = text.substr(0, open);
  const std::optional<DType> dtype = dtype_from_name(name);
  if (!dtype)
    throw_error(ErrorCode::kInvalidModel, "[type] no element type is called '{}', in '{}'", name,
                text);
  ValueType type;
  type.dtype = *dtype;
  std::string_view rest = std::string_view(text).substr(open + 1, text.size() - open - 2);
  while (!rest.empty()) {
    const size_t comma = rest.find(',');
    type.dims.push_back(parse_dim(rest.substr(0, comma), text));
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
    if (rest.starts_with(' ')) rest.remove_prefix(1);
    if (rest.empty()) parse_dim(rest, text);  // a trailing comma
  }
  if (type.rank() > Shape::kMaxRank)
    throw_error(ErrorCode::kInvalidModel, "[type] '{}' must have at most {} dimensions", text,
                Shape::kMaxRank);
  return type;
}

}  // namespace brayton
