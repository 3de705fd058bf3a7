// admit_slots: new sequences' parameters, rules and prompts -> the state of their slots, as sample
// reads it. All of it comes to the device in one copy.
// packed = offset [count], then a record at each offset: slot, rules' length, prompt's length,
// SampleParams, SampleState, rules, the prompt's tokens without repetition; all i32.
#pragma once

#include <span>

#include "brayton/tensor_view.h"
#include "ops/sample.h"

namespace brayton {

struct AdmitSlotsArgs {
  TensorView packed;  // [*] i32
  int64_t count = 0;  // records; no two for one slot
  SampleSlots state;
  int64_t vocab = 0;
};

void check(const AdmitSlotsArgs& args);

// One record.
struct SlotAdmission {
  int32_t slot = 0;
  SampleParams params;
  SampleState state;
  std::span<const int32_t> rules;   // at most kSampleRules
  std::span<const int32_t> prompt;  // distinct tokens; empty unless they are penalised
};
int64_t admission_words(const SlotAdmission& admission);
void write_admission(const SlotAdmission& admission, int32_t* to);

}  // namespace brayton
