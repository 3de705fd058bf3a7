#include "ops/admit_slots.h"

#include <algorithm>
#include <cstring>

#include "core/check.h"
#include "ops/dim_check.h"

namespace brayton {
namespace {

constexpr int64_t kHeader = 3;
constexpr int64_t kParams = sizeof(SampleParams) / sizeof(int32_t);
constexpr int64_t kState = sizeof(SampleState) / sizeof(int32_t);

}  // namespace

void check(const AdmitSlotsArgs& args) {
  DimCheck("admit_slots")
      .dims(args.packed, "packed", {"*"})
      .dtype(args.packed, "packed", DType::kI32)
      .at_least("count", args.count, 0)
      .at_most("count", args.count, "the slots", args.state.params.dim(0))
      .at_least("vocab", args.vocab, 1)
      .at_most("vocab", args.vocab, "the marks of a slot", args.state.marks.dim(1));
  check(args.state);
}

int64_t admission_words(const SlotAdmission& admission) {
  return kHeader + kParams + kState +
         static_cast<int64_t>(admission.rules.size() + admission.prompt.size());
}

void write_admission(const SlotAdmission& admission, int32_t* to) {
  BRAYTON_CHECK_LE(static_cast<int64_t>(admission.rules.size()), kSampleRules);
  to[0] = admission.slot;
  to[1] = static_cast<int32_t>(admission.rules.size());
  to[2] = static_cast<int32_t>(admission.prompt.size());
  to += kHeader;
  std::memcpy(to, &admission.params, sizeof(SampleParams));
  to += kParams;
  std::memcpy(to, &admission.state, sizeof(SampleState));
  to += kState;
  to = std::copy(admission.rules.begin(), admission.rules.end(), to);
  std::copy(admission.prompt.begin(), admission.prompt.end(), to);
}

}  // namespace brayton
