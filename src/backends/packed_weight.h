// A linear layer's weight in the layout that a backend's kernels read.
#pragma once

#include <cstdint>
#include <string>

#include "brayton/tensor_view.h"

namespace brayton {

class PackedWeight {
 public:
  virtual ~PackedWeight() = default;
  virtual int64_t bytes() const = 0;  // device memory it takes beyond the raw weight
  virtual const std::string& tactic() const = 0;
  virtual TensorView rows() const { return {}; }  // [N, K] where the layout is the plain one
};

}  // namespace brayton
