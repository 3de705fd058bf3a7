// A linear layer's weight in the layout that a backend's kernels read.
#pragma once

#include <cstdint>
#include <string>

namespace brayton {

class PackedWeight {
 public:
  virtual ~PackedWeight() = default;
  virtual int64_t bytes() const = 0;  // device memory it takes beyond the raw weight
  virtual const std::string& tactic() const = 0;
};

}  // namespace brayton
