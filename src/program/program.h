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
  int64_t kv_bytes = 0;         // 0: max_sequences sequences of the model's longest, at most 1 GiB
  bool profile = false;         // measure each op's time
};

// Bytes on the device by purpose, known before anything is loaded.
struct MemoryPlan {
  int64_t weights = 0;
  int64_t kv = 0;
  int64_t activations = 0;           // the arena, logits included
  int64_t activations_unshared = 0;  // what it would be without reuse
  int64_t total() const { return weights + kv + activations; }
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

  // Runs one step; the logits [R, vocab] f32 stay valid until the next. Host memory on the CPU.
  // Throws Error(kInvalidArgument) when the step exceeds the options or names a block outside.
  virtual TensorView run(const StepInputs& inputs) = 0;

  // Seconds of device time by op since the last call; empty unless options().profile.
  virtual std::vector<std::pair<std::string, double>> take_profile() = 0;
};

}  // namespace brayton
