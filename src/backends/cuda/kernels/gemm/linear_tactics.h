// The ways a linear layer can be computed: which there are, and one of them launched.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "backends/cuda/kernels/gemm/gemm_hopper.h"
#include "backends/cuda/kernels/gemm/linear.h"

namespace brayton::cuda {

class CublasLt;

// What a tactic is chosen for: a layer and how many rows of x it is given.
struct LinearKey {
  DType dtype = DType::kBF16;
  int64_t n = 0;  // rows of w, gate and up together when gated
  int64_t k = 0;
  int64_t rows = 0;  // one of linear_row_buckets()
  bool gated = false;
  bool bias = false;
  std::optional<ActivationKind> activation;
  bool x_aligned = true;
  bool y_aligned = true;

  int64_t outputs() const { return gated ? n / 2 : n; }  // columns of y
  uint64_t hash() const;
  std::string str() const;  // "bf16 28672x4096 gated silu rows 64"
  friend bool operator==(const LinearKey&, const LinearKey&) = default;
};

struct LinearTactic {
  LinearKernel kernel = LinearKernel::kSimple;
  GemmChoice gemm{};  // of kGemmHopper

  // "skinny", "gemm_hopper 128x256 cluster 1x2 splits 1 stages 4 chunk 64"
  std::string str() const;
  friend bool operator==(const LinearTactic&, const LinearTactic&) = default;
};

// Numbers of rows that tactics are chosen for: every number stands for the next of these, larger
// ones for the last. Among them are gemm_row_buckets().
std::span<const int64_t> linear_row_buckets();
int64_t linear_row_bucket(int64_t rows);

LinearKey linear_key(const LinearArgs& args);

// The tactics worth measuring, without doubles. The first is what is taken unmeasured: the model's
// choice; it is the only one where measuring would gain nothing. `library`: cuBLASLt is there; it
// comes last.
std::vector<LinearTactic> linear_candidates(const LinearKey& key, const DeviceInfo& device,
                                            bool library);

// Of what the host part chooses for some typical layers: other choices, other times.
uint64_t linear_choices_hash(const DeviceInfo& device);

// `tactic`: one of those for the key of `args`. `library` may be null for others than kCublasLt.
void launch_linear(CudaStream& stream, const LinearArgs& args, const LinearTactic& tactic,
                   CublasLt* library);

}  // namespace brayton::cuda
