// cuBLASLt, opened at run time: a rival of our own linear kernels, and their yardstick.
#pragma once

#include <memory>
#include <string>

#include "backends/cuda/cuda_stream.h"
#include "ops/linear.h"

namespace brayton::cuda {

// Without epilogues: y = x w^T in bf16 or f16, float32 sums. May be used by any number of threads.
class CublasLt {
 public:
  // `folders`: where libcublasLt.so may lie, separated by ':'; the loader's places are tried too.
  // Null when it is nowhere.
  static std::unique_ptr<CublasLt> open(const std::string& folders);
  ~CublasLt();

  // Enqueues the algorithm that cuBLASLt's heuristics put first. Throws Error(kEnvironment).
  void linear(CudaStream& stream, const LinearArgs& args);
  // For programs: the algorithm is the first for `rows` rows (args' own number only where it cannot
  // take it), so that numbers of rows share kernels, and one that gives the same bits every time.
  // While planning only working memory is taken. Device memory is touched at an algorithm's first
  // launch only, which must not be captured.
  void linear_as(CudaStream& stream, const LinearArgs& args, int64_t rows);

 private:
  struct State;
  explicit CublasLt(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace brayton::cuda
