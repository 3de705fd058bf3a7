// sample, anything but greedy rows alone: a team of blocks a row, a cluster where there are
// clusters, else one block. The team passes over its row, which stays in L2, once for the maximum,
// a few times to find the filters' bounds (search.cuh) and once for the masses from which the token
// is drawn. Decisions are taken on the device, by all blocks alike; a greedy row ends after the
// first pass. Float32 weights, sums in integers: results are bit-equal from run to run and for any
// team. Bound by instructions, a row alone by latency. Not measured yet.
//
//   LOGIT, VOCAB, VECTORS  see pieces.cuh
//   CLUSTER, THREADS       see team.cuh
//   SHARED, WORKSPACE      see block_memory.cuh
//   BLOCKS                 of a multiprocessor that the registers must suffice for
#include "device/dependency.cuh"
#include "kernels/sampling/logprobs.cuh"

constexpr int kBlocks = BLOCKS;

// The tokens that bad words and min_tokens forbid now.
__device__ __forceinline__ void find_forbidden(const SampleState& state) {
  BlockMemory& memory = block_memory();
  const SampleParams& params = memory.params;
  const int32_t* word_ends = memory.rules + 2 * params.biases;
  const int32_t* words = word_ends + params.bad_words;
  const int32_t* end_ids = words + params.bad_word_tokens;
  const auto forbid = [&](int token) {
    const int at = atomicAdd(&memory.forbidden_count, 1);
    if (at < kMaxForbidden) memory.forbidden[at] = token;
  };
  for (int i = threadIdx.x; i < params.bad_words; i += kThreads) {
    const int begin = i > 0 ? word_ends[i - 1] : 0;
    const int last = word_ends[i] - 1;
    bool follows = true;
    for (int t = begin; t < last; ++t)
      follows = follows && words[t] == state.recent[kRecent - (last - t)];
    if (follows) forbid(words[last]);
  }
  if (memory.generated < params.min_tokens)
    for (int i = threadIdx.x; i < params.end_ids; i += kThreads) forbid(end_ids[i]);
}

__device__ __forceinline__ bool rules_in_force() {
  const BlockMemory& memory = block_memory();
  const SampleParams& params = memory.params;
  return params.biases > 0 || params.bad_words > 0 || params.penalties != 0 ||
         (memory.generated < params.min_tokens && params.end_ids > 0);
}

// The token is counted where the slot's rules look for it. For the leading block, when no other
// reads the slot any more.
__device__ __forceinline__ void record(int token, SampleState& state, uint16_t* marks) {
  const BlockMemory& memory = block_memory();
  const int lane = threadIdx.x;
  static_assert(kRecent == 32);
  if (lane >= kRecent) return;
  const int next = lane + 1 < kRecent ? state.recent[lane + 1] : token;
  __syncwarp();
  state.recent[lane] = next;
  if (lane != 0) return;
  state.generated = memory.generated + 1;
  if (memory.params.penalties == 0) return;
  const unsigned mark = marks[token];
  if ((mark & kGeneratedBits) < kGeneratedBits) marks[token] = static_cast<uint16_t>(mark + 1);
}

// What passes see from now on: the model's own logits, or what the rules leave of them.
__device__ __noinline__ SampleError look_at_row(bool ruled) {
  BlockMemory& memory = block_memory();
  __syncthreads();
  if (threadIdx.x == 0) memory.marks = ruled ? memory.ruled_marks : nullptr;
  __syncthreads();
  find_maximum();
  const Maximum maximum = memory.maximum;
  if (threadIdx.x == 0) {
    memory.softmax = {maximum.value, ruled ? memory.params.scale : 1.0f};
    memory.filter = keep_everything();
  }
  __syncthreads();
  return !maximum.valid                      ? kInvalidLogits
         : maximum.value == minus_infinity() ? kAllForbidden
                                             : kNone;
}

// Sets drawn_token in the leading block, and what is to be reported of the model's own logits; or
// returns an error in all blocks.
__device__ __noinline__ SampleError sample_row() {
  BlockMemory& memory = block_memory();
  if (memory.params.logprobs >= 0) {
    const SampleError error = look_at_row(false);
    if (error != kNone) return error;
    find_log_total();
    if (memory.params.logprobs > 0) report_most_likely();
  }
  const SampleError error = look_at_row(true);
  if (error != kNone) return error;
  if (memory.params.greedy != 0) {
    take_largest();
  } else {
    find_filter();
    draw_token();
  }
  return kNone;
}

extern "C" __global__ void __launch_bounds__(kThreads, kBlocks)
    sample(const Logit* logits, int64_t row_stride, const int32_t* slots,
           const SampleParams* params, SampleState* states, const int32_t* rules, uint16_t* marks,
           int32_t* sampled, SampledRow* rows, SampledTop* top, uint8_t* workspaces,
           int team_size) {
  BlockMemory& memory = block_memory();
  constexpr int64_t kMarks = kPieces * kPiece;
  const int size = kCluster ? team_size : 1;
  launch_dependents();
  wait_for_dependency();
  if (slots[blockIdx.x / size] < 0) return;
  constexpr int kParamWords = sizeof(SampleParams) / sizeof(uint32_t);
  if (threadIdx.x < kParamWords)
    reinterpret_cast<uint32_t*>(&memory.params)[threadIdx.x] =
        reinterpret_cast<const uint32_t*>(params + slots[blockIdx.x / size])[threadIdx.x];
  if (threadIdx.x == 0) {
    const int row = blockIdx.x / size, slot = slots[row];
    memory.slot = slot;
    memory.team.rank = blockIdx.x % size;
    memory.team.size = size;
    memory.team.turn = 0;
    memory.workspace = reinterpret_cast<SampleWorkspace*>(workspaces + int64_t(row) * WORKSPACE);
    memory.team.exchange = &memory.workspace->exchange[0][0][0];
    memory.top = top + row;
    memory.logits = logits + row * row_stride;
    memory.rules = rules + int64_t(slot) * kRules;
    memory.inverse_repetition = 1.0 / params[slot].repetition_penalty;
    memory.generated = states[slot].generated;
    memory.forbidden_count = 0;
  }
  __syncthreads();
  const bool ruled = rules_in_force();
  if (ruled) find_forbidden(states[memory.slot]);
  if (threadIdx.x == 0) memory.ruled_marks = ruled ? marks + memory.slot * kMarks : nullptr;

  const SampleError error = sample_row();
  if (!memory.team.leads()) return;
  const int slot = memory.slot, token = error == kNone ? memory.drawn_token : 0;
  if (error == kNone) record(token, states[slot], marks + slot * kMarks);
  if (threadIdx.x == 0) {
    const bool wants_logprob = error == kNone && memory.params.logprobs >= 0;
    sampled[slot] = token;
    rows[blockIdx.x / size] = {
        token,
        wants_logprob ? log_probability(to_float(memory.logits[token]), memory.log_total) : 0.0f,
        error};
  }
}
