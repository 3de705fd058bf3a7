// A linear weight as the CPU's kernels read it: groups of rows, interleaved for vectors.
#pragma once

#include <cstdint>
#include <string>

#include "backends/backend.h"
#include "backends/packed_weight.h"
#include "ops/linear.h"

namespace brayton::cpu {

// What is stored and computed; kernels/linear_*.cc say how. The first three multiply float32
// activations with plain weights; the others multiply activations rounded to 8 bits in blocks of
// 32 with the integers of a block format.
enum class LinearForm {
  kF32,
  kF16,
  kBF16,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ2_K,
  kQ3_K,
  kQ4_K,
  kQ5_K,
  kQ6_K,
};

class PackedLinear final : public PackedWeight {
 public:
  PackedLinear(LinearForm form, int64_t n, int64_t k, std::string tactic, Buffer data);
  ~PackedLinear() override;

  int64_t bytes() const override;
  const std::string& tactic() const override;

  // Plain data, so that kernels of every level read it without calls.
  const LinearForm form;
  const int64_t n;
  const int64_t k;
  const void* const data;

 private:
  Buffer buffer_;
  std::string tactic_;
};

// The packed weight of a call that passed check(args), which must be the CPU backend's own. Throws
// Error when it does not fit the tensors, or when activations are not float32.
const PackedLinear& packed_linear(const LinearArgs& args);

}  // namespace brayton::cpu
