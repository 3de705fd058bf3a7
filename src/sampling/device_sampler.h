// Sampler's counterpart where logits stay on the device: tokens are drawn there, by the backend's
// sample op, while the host goes on.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backends/backend.h"
#include "ops/sample.h"
#include "sampling/sampler.h"

namespace brayton {

// One thread at a time. Everything is allocated at construction.
class DeviceSampler {
 public:
  struct Options {
    int64_t slots = 0;
    int64_t vocab_size = 0;
    int64_t max_rows = 0;    // of the logits of a step
    int64_t max_length = 0;  // tokens of a sequence, for penalised prompts
    size_t depth = 2;        // launches that may be uncollected at a time
    TensorView sampled;      // [slots] i32 on the device: the last token by slot; empty: our own
  };
  static int64_t device_bytes(const Options& options);

  // What the device has room for beyond Sampler::check. Throws Error(kInvalidArgument)
  // "[request] logprobs must be at most 32 on a GPU, got 40".
  static void check_limits(const SamplingParams& params, size_t end_ids);

  DeviceSampler(Backend& backend, const Options& options);
  ~DeviceSampler();

  // As Sampler has them. A slot's state reaches the device with the next launch.
  void admit(int64_t slot, const SamplingParams& params, uint64_t seed,
             std::span<const int32_t> prompt, std::span<const int32_t> end_ids);
  void release(int64_t slot);

  // Enqueues the draws of one step, behind what computes the logits [R, V], which are not changed.
  // `rows`: each slot and each row once.
  void launch(Stream& stream, const TensorView& device_logits, std::span<const Sampler::Row> rows);
  // The tokens of the oldest launch that was not collected, in the order of its rows; waits for it.
  void collect(std::vector<SampledToken>& outputs);

  TensorView sampled() const;  // [slots] i32 on the device

  // Launches every kernel that steps may need once, with addresses that mean nothing: only between
  // a backend's begin_planning() and end_planning(). `logits` [max_rows, V] as launch will get
  // them.
  static void note_kernels(Stream& stream, const KernelTable& kernels, const Options& options,
                           const TensorView& logits);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace brayton
