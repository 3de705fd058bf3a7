// The type of a value in a graph or plan: element type and dimensions, some known only at run time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "brayton/tensor_view.h"

namespace brayton {

// A constant, or a run-time dimension by its symbol:
//   T  packed tokens of the step        R  rows of which logits are wanted
//   S  sequences of the step
struct Dim {
  int64_t size = 0;  // when symbol == 0
  char symbol = '\0';

  Dim() = default;
  Dim(int64_t size) : size(size) {}  // NOLINT: a size is a dimension
  static Dim of(char symbol) {
    Dim dim;
    dim.symbol = symbol;
    return dim;
  }
  bool is_constant() const { return symbol == '\0'; }
  std::string str() const { return is_constant() ? std::to_string(size) : std::string(1, symbol); }
  friend bool operator==(const Dim&, const Dim&) = default;
};

// The sizes that one step gives to the symbols; also their maxima, for planning.
struct StepSizes {
  int64_t tokens = 0;     // T
  int64_t rows = 0;       // R
  int64_t sequences = 0;  // S
  int64_t of(const Dim& dim) const;
};

struct ValueType {
  DType dtype = DType::kF32;
  std::vector<Dim> dims;

  int rank() const { return static_cast<int>(dims.size()); }
  bool is_constant() const;  // no run-time dimension
  Shape shape(const StepSizes& sizes) const;
  Shape shape() const;      // constant types only
  std::string str() const;  // "bf16[T, 4096]"
  friend bool operator==(const ValueType&, const ValueType&) = default;
};

// Inverse of str(). Throws Error(kInvalidModel).
ValueType parse_value_type(const std::string& text);

}  // namespace brayton
