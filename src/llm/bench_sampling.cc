// Drawing tokens from logits of a normal distribution with deviation 2: flat, so that most of the
// vocabulary lies in the nucleus, which is the hard case.
#include <algorithm>
#include <iterator>

#include "core/format.h"
#include "llm/kernel_timer.h"

namespace brayton {
namespace {

constexpr int64_t kVocab = 128256;
constexpr float kDeviation = 2.0f;

TensorView structs(KernelTimer& timer, int64_t count, size_t size) {
  return timer.tensor(DType::kU8, {count, static_cast<int64_t>(size)});
}

// Slots with the same parameters, each with a seed of its own.
SampleSlots admit(KernelTimer& timer, int64_t count, SampleParams params) {
  SampleSlots slots;
  slots.params = structs(timer, count, sizeof(SampleParams));
  slots.states = structs(timer, count, sizeof(SampleState));
  slots.rules = timer.tensor(DType::kI32, {count, kSampleRules});
  slots.marks = timer.tensor(DType::kU16, {count, sample_marks(kVocab)});
  std::vector<int32_t> packed(static_cast<size_t>(count));
  for (int64_t slot = 0; slot < count; ++slot) {
    SlotAdmission admission;
    admission.slot = static_cast<int32_t>(slot);
    admission.params = params;
    admission.params.seed = static_cast<uint64_t>(slot);
    std::fill(std::begin(admission.state.recent), std::end(admission.state.recent), -1);
    const size_t begin = packed.size();
    packed[static_cast<size_t>(slot)] = static_cast<int32_t>(begin);
    packed.resize(begin + static_cast<size_t>(admission_words(admission)));
    write_admission(admission, packed.data() + begin);
  }
  const TensorView records = timer.integers({static_cast<int64_t>(packed.size())}, packed);
  timer.kernels().admit_slots(timer.stream(),
                              {.packed = records, .count = count, .state = slots, .vocab = kVocab});
  return slots;
}

void sample(KernelTimer& timer, const std::string& kernel, int64_t rows, SampleMode mode,
            const SampleParams& params) {
  const std::string shape = format("{} x {}", rows, kVocab);
  if (!timer.wanted(kernel, shape)) return;
  const int sets = KernelTimer::cold_sets(2 * rows * kVocab);
  std::vector<TensorView> logits;
  for (int i = 0; i < sets; ++i)
    logits.push_back(timer.tensor(DType::kBF16, {rows, kVocab}, kDeviation));
  std::vector<int32_t> slots;
  for (int64_t row = 0; row < rows; ++row) slots.push_back(static_cast<int32_t>(row));
  SampleArgs args;
  args.slots = timer.integers({rows}, slots);
  args.state = admit(timer, rows, params);
  args.sampled = timer.tensor(DType::kI32, {rows});
  args.rows = structs(timer, rows, sizeof(SampledRow));
  args.top = structs(timer, rows, sizeof(SampledTop));
  args.mode = mode;
  timer.measure({.kernel = kernel,
                 .shape = shape,
                 .bytes = static_cast<double>(logits[0].bytes() + args.rows.bytes())},
                [&, args](int i) mutable {
                  args.logits = logits[static_cast<size_t>(i % sets)];
                  timer.kernels().sample(timer.stream(), args);
                });
}

}  // namespace

void bench_sampling(KernelTimer& timer) {
  if (!timer.kernels().sample || !timer.kernels().admit_slots) return;
  for (int64_t rows : {1, 256}) sample(timer, "sample greedy", rows, SampleMode::kGreedy, {});
  SampleParams nucleus;
  nucleus.greedy = 0;
  nucleus.top_p = 0.9;
  nucleus.scale = 1.0f / 0.8f;
  for (int64_t rows : {1, 64, 256}) sample(timer, "sample top_p", rows, SampleMode::kFull, nucleus);
}

}  // namespace brayton
