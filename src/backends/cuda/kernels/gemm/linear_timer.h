// How long a layer's tactics take on the GPU, as in a program: in captured chains of dependent
// launches, with weights that lie in no cache.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "backends/cuda/kernels/gemm/linear_tuner.h"

namespace brayton::cuda {

// The medians of run(0), ..., run(count - 1), `rounds` times in turn, so that a clock that changes
// is everyone's. Who takes half as long again as the fastest in a first round, which only warms up,
// is out: HUGE_VAL.
std::vector<double> race(size_t count, int rounds, const std::function<double(size_t)>& run);

class LinearTimer {
 public:
  // Takes device memory for the layers that need no more than `most_bytes`, until it is destroyed.
  // `library` may be null where no layer has it as a candidate.
  LinearTimer(const Driver& driver, CudaStream& stream, CublasLt* library,
              std::span<const LinearTuner::Layer> layers, int64_t most_bytes);

  // Microseconds of every candidate, HUGE_VAL where it is much too slow; empty: the layer is too
  // large.
  std::vector<double> measure(const LinearTuner::Layer& layer);
  // Launches one tactic once, if the layer is not too large.
  void launch_once(const LinearTuner::Layer& layer, const LinearTactic& tactic);

 private:
  struct Inputs;
  Inputs inputs_of(const LinearTuner::Layer& layer) const;
  void launch(Inputs& inputs, const LinearTactic& tactic, int i);
  double once(const std::function<void()>& work);  // seconds
  void fill();

  const Driver& driver_;
  CudaStream& stream_;
  CublasLt* const library_;
  Buffer memory_;
  std::unique_ptr<Event> start_, end_;
};

}  // namespace brayton::cuda
