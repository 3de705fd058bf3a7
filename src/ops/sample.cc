#include "ops/sample.h"

#include "core/format.h"
#include "ops/dim_check.h"

namespace brayton {
namespace {

void check_bytes(const TensorView& tensor, std::string_view name, size_t bytes) {
  if (tensor.rank() == 2 && tensor.dim(1) != static_cast<int64_t>(bytes))
    throw_error(ErrorCode::kInvalidArgument, "[sample] a row of {} must be {} bytes, got {}", name,
                bytes, tensor.dim(1));
}

void bind_slots(DimCheck& dims, const SampleSlots& slots) {
  dims.dims(slots.params, "params", {"slots", "*"})
      .dims(slots.states, "states", {"slots", "*"})
      .dims(slots.rules, "rules", {"slots", "rules"})
      .dims(slots.marks, "marks", {"slots", "marks"})
      .dtype(slots.params, "params", DType::kU8)
      .dtype(slots.states, "states", DType::kU8)
      .dtype(slots.rules, "rules", DType::kI32)
      .dtype(slots.marks, "marks", DType::kU16)
      .contiguous(slots.params, "params")
      .contiguous(slots.states, "states")
      .contiguous(slots.rules, "rules")
      .contiguous(slots.marks, "marks")
      .multiple("marks", dims["marks"], "a vector's", 8);
  check_bytes(slots.params, "params", sizeof(SampleParams));
  check_bytes(slots.states, "states", sizeof(SampleState));
  if (dims["rules"] != kSampleRules)
    throw_error(ErrorCode::kInvalidArgument, "[sample] a row of rules must be {} numbers, got {}",
                kSampleRules, dims["rules"]);
}

}  // namespace

void check(const SampleSlots& slots) {
  DimCheck dims("sample");
  bind_slots(dims, slots);
}

void check(const SampleArgs& args) {
  DimCheck dims("sample");
  dims.dims(args.logits, "logits", {"R", "V"})
      .dims(args.slots, "slots", {"R"})
      .dims(args.sampled, "sampled", {"slots"})
      .dims(args.rows, "rows", {"R", "*"})
      .activations({{&args.logits, "logits"}})
      .dtype(args.slots, "slots", DType::kI32)
      .dtype(args.sampled, "sampled", DType::kI32)
      .dtype(args.rows, "rows", DType::kU8)
      .contiguous(args.rows, "rows")
      .at_least("V", dims["V"], 1)
      .at_most("V", dims["V"], "what the op can hold", kSampleVocab);
  check_bytes(args.rows, "rows", sizeof(SampledRow));
  bind_slots(dims, args.state);
  if (dims["marks"] != sample_marks(dims["V"]))
    throw_error(ErrorCode::kInvalidArgument, "[sample] marks must be {} a slot, got {}",
                sample_marks(dims["V"]), dims["marks"]);
  if (args.mode == SampleMode::kGreedy && !args.top) return;
  dims.dims(args.top, "top", {"R", "*"})
      .dtype(args.top, "top", DType::kU8)
      .contiguous(args.top, "top");
  check_bytes(args.top, "top", sizeof(SampledTop));
}

}  // namespace brayton
