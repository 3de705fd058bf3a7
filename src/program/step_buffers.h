// A step's inputs on their way: host vectors -> one pinned piece -> the device's fixed arrays.
#pragma once

#include "backends/backend.h"
#include "program/bind.h"
#include "program/program.h"
#include "program/step.h"

namespace brayton {

// Tokens, sequences and rows that the launches of a step are made for: those of the step, or more
// when it is padded to a captured size.
struct PaddedStep {
  StepSizes sizes;
  int64_t decodes = 0;
};

class StepBuffers {
 public:
  // `max_blocks`: columns of the block table. `sampled`: the last token of every slot, on the
  // device.
  StepBuffers(Backend& backend, Stream& stream, const ProgramOptions& options, int64_t max_blocks,
              const TensorView& sampled);

  // Brings the inputs to the device. The host may change them afterwards.
  void copy(Stream& stream, const StepInputs& inputs);
  // Launches what spreads them into the arrays; may be captured.
  void unpack(Stream& stream, const PaddedStep& step);
  const StepArrays& arrays() const { return arrays_; }

 private:
  void copy_one_by_one(const StepInputs& inputs);
  size_t pack(const StepInputs& inputs, int32_t* to) const;

  static constexpr int kPieces = 3;  // steps under way

  Backend& backend_;
  const bool packs_;
  UnpackStepArgs args_;
  StepArrays arrays_;
  Buffer memory_, packed_;
  Buffer pinned_[kPieces];
  std::unique_ptr<Event> passed_[kPieces];
  int piece_ = 0;
};

}  // namespace brayton
