// Draws the tokens of steps: on the host from logits it waits for, or on the device while the host
// goes on.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "executor/runner.h"
#include "sampling/sampler.h"

namespace brayton {

// Loop thread only.
class StepSampler {
 public:
  virtual ~StepSampler() = default;
  // Steps that may be launched before the oldest is collected.
  virtual size_t depth() const = 0;
  virtual bool on_device() const = 0;
  // As Sampler has them; `max_length` of the sequence.
  virtual void admit(int64_t slot, const SamplingParams& params, uint64_t seed,
                     std::span<const int32_t> prompt, std::span<const int32_t> end_ids) = 0;
  virtual void release(int64_t slot) = 0;
  // Draws from rows of the step that `runner` launched last.
  virtual void launch(Runner& runner, std::span<const Sampler::Row> rows) = 0;
  // The tokens of the oldest launch that was not collected; waits for them.
  virtual void collect(std::vector<SampledToken>& sampled) = 0;
};

// `depth`: 0 is 1 for a host and 2 for a device that draws by itself.
std::unique_ptr<StepSampler> make_step_sampler(Program& program, int64_t slots, int64_t depth);

}  // namespace brayton
