// admit_slots: a block for every record, which it spreads over the slot's state. The slot's marks
// are cleared first, where rules or penalties will read them: that is all that takes time.
//
//   VOCAB  logits of a row
#include "device/dependency.cuh"
#include "kernels/sampling/slot_state.cuh"

constexpr int kThreads = 512;
constexpr int kMarks = (VOCAB + 7) / 8 * 8;

extern "C" __global__ void __launch_bounds__(kThreads)
    admit_slots(const int32_t* packed, int32_t* params, int32_t* states, int32_t* rules,
                uint16_t* marks) {
  launch_dependents();
  wait_for_dependency();
  const int32_t* record = packed + packed[blockIdx.x];
  const int slot = record[0], rule_count = record[1], prompt_count = record[2];
  constexpr int kHeader = 3;
  constexpr int kParams = sizeof(SampleParams) / sizeof(int32_t);
  constexpr int kState = sizeof(SampleState) / sizeof(int32_t);
  const int32_t* new_params = record + kHeader;
  const int32_t* new_state = new_params + kParams;
  const int32_t* new_rules = new_state + kState;
  const int32_t* prompt = new_rules + rule_count;
  for (int i = threadIdx.x; i < kParams; i += kThreads) params[slot * kParams + i] = new_params[i];
  for (int i = threadIdx.x; i < kState; i += kThreads) states[slot * kState + i] = new_state[i];
  for (int i = threadIdx.x; i < rule_count; i += kThreads)
    rules[int64_t(slot) * kRules + i] = new_rules[i];
  __syncthreads();

  const SampleParams& own = reinterpret_cast<const SampleParams*>(params)[slot];
  if (rule_count == 0 && own.penalties == 0) return;
  uint16_t* own_marks = marks + int64_t(slot) * kMarks;
  for (int i = threadIdx.x; i < kMarks / 8; i += kThreads)
    reinterpret_cast<uint4*>(own_marks)[i] = make_uint4(0, 0, 0, 0);
  __syncthreads();
  for (int i = threadIdx.x; i < prompt_count; i += kThreads) own_marks[prompt[i]] = kPromptBit;
  __syncthreads();
  // Several threads may name the same token: all of them write the same.
  const auto name = [&](int token) {
    own_marks[token] = static_cast<uint16_t>(own_marks[token] | kNamedBit);
  };
  const int32_t* word_ends = new_rules + 2 * own.biases;
  const int32_t* words = word_ends + own.bad_words;
  const int32_t* end_ids = words + own.bad_word_tokens;
  for (int i = threadIdx.x; i < own.biases; i += kThreads) name(new_rules[i]);
  for (int i = threadIdx.x; i < own.bad_words; i += kThreads) name(words[word_ends[i] - 1]);
  for (int i = threadIdx.x; i < own.end_ids; i += kThreads) name(end_ids[i]);
}
