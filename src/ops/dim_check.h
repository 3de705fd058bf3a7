// How check(args) says what is wrong: named dimensions are bound by their first use and must agree
// afterwards. Costs some nanoseconds and allocates nothing unless it throws.
#pragma once

#include <array>
#include <initializer_list>
#include <string_view>
#include <utility>

#include "brayton/tensor_view.h"

namespace brayton {

// "D", a multiple "2F", a sum "S+1", a constant "2", or "*" for any size.
struct NamedDim {
  std::string_view text;
  std::string_view name;  // empty for a constant
  int64_t factor = 1;
  int64_t offset = 0;

  constexpr NamedDim(const char* spelled) : text(spelled), name(text) {  // NOLINT: reads as a name
    int64_t number = 0;
    size_t digits = 0;
    while (digits < name.size() && name[digits] >= '0' && name[digits] <= '9')
      number = number * 10 + (name[digits++] - '0');
    name.remove_prefix(digits);
    if (digits > 0) (name.empty() ? offset : factor) = number;
    if (const size_t plus = name.find('+'); plus != std::string_view::npos) {
      for (char c : name.substr(plus + 1)) offset = offset * 10 + (c - '0');
      name = name.substr(0, plus);
    }
  }
};

// All members throw Error(kInvalidArgument) as "[op] tensor.D must be 4096, got 4095".
class DimCheck {
 public:
  explicit DimCheck(std::string_view op) : op_(op) {}

  // The rank and sizes of `tensor`; its innermost stride must be 1. A name inside a multiple or a
  // sum may be bound here too, if some size fits.
  DimCheck& dims(const TensorView& tensor, std::string_view name,
                 std::initializer_list<NamedDim> dims);
  // The same where there is a tensor.
  DimCheck& dims_if(const TensorView& tensor, std::string_view name,
                    std::initializer_list<NamedDim> dims) {
    return tensor ? this->dims(tensor, name, dims) : *this;
  }
  DimCheck& dtype(const TensorView& tensor, std::string_view name, DType dtype);
  DimCheck& dtype_if(const TensorView& tensor, std::string_view name, DType dtype) {
    return tensor ? this->dtype(tensor, name, dtype) : *this;
  }
  // f32, f16 or bf16, and the same for every tensor of the list that is there.
  DimCheck& activations(
      std::initializer_list<std::pair<const TensorView*, std::string_view>> tensors);
  // A weight as stored: float or block-quantised.
  DimCheck& weight(const TensorView& tensor, std::string_view name);
  DimCheck& contiguous(const TensorView& tensor, std::string_view name);
  // Where there is `tensor`, there must be `other`.
  DimCheck& needs(const TensorView& tensor, std::string_view name, const TensorView& other,
                  std::string_view other_name);
  DimCheck& at_least(std::string_view name, int64_t value, int64_t least);
  DimCheck& at_most(std::string_view name, int64_t value, std::string_view bound_name,
                    int64_t bound);
  DimCheck& multiple(std::string_view name, int64_t value, std::string_view of_name, int64_t of);

  int64_t operator[](std::string_view dim) const;  // a bound name

 private:
  struct Bound {
    std::string_view name;
    int64_t size = 0;
  };
  const int64_t* find(std::string_view name) const;
  void match(std::string_view tensor, const NamedDim& dim, int64_t size);

  std::string_view op_;
  std::array<Bound, 12> bound_;
  int count_ = 0;
};

}  // namespace brayton
