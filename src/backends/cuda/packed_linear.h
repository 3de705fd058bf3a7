// A linear weight on the GPU: row-major [N, K] in the activations' type, as every kernel reads it.
#pragma once

#include <string>

#include "backends/backend.h"
#include "backends/packed_weight.h"
#include "ops/linear.h"

namespace brayton::cuda {

class PackedLinear final : public PackedWeight {
 public:
  PackedLinear(DType dtype, int64_t n, int64_t k, std::string tactic, Buffer data)
      : view_(data.data(), dtype, Shape{n, k}),
        tactic_(std::move(tactic)),
        data_(std::move(data)) {}
  int64_t bytes() const override { return view_.bytes(); }
  const std::string& tactic() const override { return tactic_; }
  TensorView rows() const override { return view_; }
  const TensorView& view() const { return view_; }  // [N, K], 256-byte aligned

 private:
  TensorView view_;
  std::string tactic_;
  Buffer data_;
};

// The weight of args: packed by this backend, of x's type and of fitting shape. Throws Error.
const TensorView& packed_weight(const LinearArgs& args);

}  // namespace brayton::cuda
