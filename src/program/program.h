// An opened engine bound to a device: weights resident, steps ready.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "backends/backend.h"
#include "engine/engine.h"
#include "program/step.h"

namespace brayton {

struct ProgramOptions {
  int64_t max_tokens = 512;     // packed tokens of a step
  int64_t max_sequences = 64;   // sequences of a step
  int64_t max_logit_rows = 64;  // rows of logits of a step
  int64_t kv_block_size = 64;   // tokens of a block
  int64_t kv_blocks = 0;        // 0: as many as kv_bytes holds
  // 0: what max_sequences sequences of the model's longest need, at most 1 GiB of host memory or
  // what memory_fraction leaves of a device's.
  int64_t kv_bytes = 0;
  double memory_fraction = 0.9;  // of the device's free memory, for everything
  bool capture = true;           // decode steps as captured launches, where the backend can
  bool profile = false;          // measure each op's time
};

// Bytes on the device by purpose, known before anything is loaded.
struct MemoryPlan {
  int64_t weights = 0;
  int64_t kv = 0;
  int64_t activations = 0;           // the arena, logits included
  int64_t activations_unshared = 0;  // what it would be without reuse
  int64_t inputs = 0;                // of steps: tokens, block tables
  int64_t total() const { return weights + kv + activations + inputs; }
};

class Program {
 public:
  static MemoryPlan plan_memory(const Engine& engine, const Backend& backend,
                                const ProgramOptions& options);
  // Loads and packs the weights. `progress`: bytes of weights done and in all; may be empty.
  static std::unique_ptr<Program> load(std::shared_ptr<const Engine> engine, Backend& backend,
                                       const ProgramOptions& options,
                                       const std::function<void(int64_t, int64_t)>& progress = {});
  virtual ~Program() = default;

  virtual const Engine& engine() const = 0;
  virtual const ProgramOptions& options() const = 0;  // with kv_blocks filled in
  virtual const MemoryPlan& memory() const = 0;

  // Compiles the kernels that the engine's steps need on this backend, for any step within the
  // options, without loading weights: what `brayton build` keeps in the engine file.
  static KernelImages compile_kernels(const Engine& engine, Backend& backend,
                                      const ProgramOptions& options,
                                      const std::function<void(int64_t, int64_t)>& progress = {});

  // Enqueues one step and returns; a device may still be at the steps before.
  // Throws Error(kInvalidArgument) when the step exceeds the options or names a block outside.
  virtual void launch(const StepInputs& inputs) = 0;
  // Of the step launched last: [R, vocab] in device memory, of the device's activation type; to be
  // read by what is launched on stream() next.
  virtual TensorView device_logits() const = 0;
  // The same in host memory as f32, when the step has ended; valid until the next call.
  virtual TensorView host_logits() = 0;
  TensorView run(const StepInputs& inputs) {
    launch(inputs);
    return host_logits();
  }

  // Whether the device draws tokens: backend().kernels() has sample.
  virtual bool samples_on_device() const = 0;
  virtual Backend& backend() const = 0;
  virtual Stream& stream() const = 0;
  // [max_sequences] i32 on the device: the token that each slot drew last.
  virtual TensorView device_sampled() const = 0;

  // Seconds of device time by op since the last call; empty unless options().profile.
  virtual std::vector<std::pair<std::string, double>> take_profile() = 0;
};

}  // namespace brayton
