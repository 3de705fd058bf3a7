// Which tactic computes a layer: the fastest that was measured, now or earlier on such a device.
#pragma once

#include <functional>
#include <memory>
#include <shared_mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "backends/cuda/jit/timing_cache.h"
#include "backends/cuda/kernels/gemm/linear_tactics.h"

namespace brayton::cuda {

// The fastest's index; 0, which needs no measuring, unless another is faster by more than 2 %.
// Times in any unit, infinite where there is none.
size_t choose_by_times(std::span<const double> times);

// A tactic is chosen once in a process: what runs does not change under a program. May be used by
// any number of threads.
class LinearTuner {
 public:
  struct Layer {
    LinearKey key;
    int64_t rows = 0;  // the most of those that key.rows stands for
    std::vector<LinearTactic> candidates;
  };
  // cuBLASLt, opened at the first call; null when it is not to be had. Called by one at a time.
  using OpenLibrary = std::function<CublasLt*()>;

  // The device and the cache must outlive the tuner.
  LinearTuner(const DeviceInfo& device, TimingCache& cache, OpenLibrary open_library);
  ~LinearTuner();

  // The chosen tactic; nothing: the model's is as good as any.
  std::optional<LinearTactic> find(const LinearKey& key);
  // While planning: the tactics that may be chosen for a layer, so that what they need is made
  // ready. The choice is wanted().
  std::vector<LinearTactic> plan(const LinearKey& key, int64_t rows);
  // Layers whose choice is open, in the order they were planned.
  std::vector<Layer> wanted() const;
  // Chooses by the candidates' times, in microseconds, and remembers it in the cache; where there
  // are none the model's choice stays in this process.
  void decide(const Layer& layer, std::span<const double> times);

  // Layers that were planned for cuBLASLt by an earlier measurement: it loads its kernels at their
  // first launch, which must not be a program's. Each is given once.
  std::vector<Layer> take_unloaded();
  CublasLt* library();

 private:
  struct State;
  struct KeyHash {
    size_t operator()(const LinearKey& key) const { return key.hash(); }
  };
  State& state_of(const LinearKey& key);  // mutex_ is held alone

  const DeviceInfo& device_;
  TimingCache& cache_;
  const OpenLibrary open_library_;
  mutable std::shared_mutex mutex_;
  std::unordered_map<LinearKey, std::unique_ptr<State>, KeyHash> states_;
  std::vector<State*> order_;
};

}  // namespace brayton::cuda
