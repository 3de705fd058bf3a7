#include "executor/step_sampler.h"

#include <algorithm>
#include <deque>

#include "sampling/device_sampler.h"

namespace brayton {
namespace {

class HostStepSampler final : public StepSampler {
 public:
  HostStepSampler(Program& program, int64_t slots, size_t depth)
      : program_(program), depth_(depth), sampler_(slots, program.engine().model.vocab_size) {}
  size_t depth() const override { return depth_; }
  bool on_device() const override { return false; }
  void admit(int64_t slot, const SamplingParams& params, uint64_t seed,
             std::span<const int32_t> prompt, std::span<const int32_t> end_ids) override {
    sampler_.admit(slot, params, seed, prompt, end_ids);
  }
  void release(int64_t slot) override { sampler_.release(slot); }
  void launch(Runner& runner, std::span<const Sampler::Row> rows) override {
    std::vector<SampledToken> sampled;
    sampler_.sample(runner.host_logits(), rows, sampled);
    if (depth_ > 1) {  // the next step is launched before the tokens are collected: by slot
      auto* by_slot = program_.device_sampled().as<int32_t>();
      for (size_t i = 0; i < rows.size(); ++i) by_slot[rows[i].slot] = sampled[i].output.token;
    }
    launched_.push_back(std::move(sampled));  // a launch that throws leaves nothing to collect
  }
  void collect(std::vector<SampledToken>& sampled) override {
    sampled = std::move(launched_.front());
    launched_.pop_front();
  }

 private:
  Program& program_;
  const size_t depth_;
  Sampler sampler_;
  std::deque<std::vector<SampledToken>> launched_;
};

class DeviceStepSampler final : public StepSampler {
 public:
  DeviceStepSampler(Program& program, const DeviceSampler::Options& options)
      : program_(program), depth_(options.depth), sampler_(program.backend(), options) {
    Backend& backend = program.backend();
    if (!backend.begin_planning()) return;
    TensorView logits = program.device_logits();
    logits.shape[0] = options.max_rows;
    DeviceSampler::note_kernels(program.stream(), backend.kernels(), options, logits);
    backend.end_planning({});
  }
  size_t depth() const override { return depth_; }
  bool on_device() const override { return true; }
  void admit(int64_t slot, const SamplingParams& params, uint64_t seed,
             std::span<const int32_t> prompt, std::span<const int32_t> end_ids) override {
    sampler_.admit(slot, params, seed, prompt, end_ids);
  }
  void release(int64_t slot) override { sampler_.release(slot); }
  void launch(Runner&, std::span<const Sampler::Row> rows) override {
    sampler_.launch(program_.stream(), program_.device_logits(), rows);
  }
  void collect(std::vector<SampledToken>& sampled) override { sampler_.collect(sampled); }

 private:
  Program& program_;
  const size_t depth_;
  DeviceSampler sampler_;
};

}  // namespace

std::unique_ptr<StepSampler> make_step_sampler(Program& program, int64_t slots, int64_t depth) {
  if (program.samples_on_device())
    return std::make_unique<DeviceStepSampler>(
        program, DeviceSampler::Options{.slots = slots,
                                        .vocab_size = program.engine().model.vocab_size,
                                        .max_rows = program.options().max_logit_rows,
                                        .max_length = program.engine().model.max_positions,
                                        .depth = static_cast<size_t>(depth > 0 ? depth : 2),
                                        .sampled = program.device_sampled()});
  return std::make_unique<HostStepSampler>(program, slots,
                                           static_cast<size_t>(std::max<int64_t>(depth, 1)));
}

}  // namespace brayton
