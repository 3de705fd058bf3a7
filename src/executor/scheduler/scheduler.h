// (waiting, running, budget) -> what the next step computes. Pure: no clock, no threads, no device.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "executor/kv_cache/block_pool.h"
#include "executor/sequence.h"

namespace brayton {

struct SchedulerLimits {
  int64_t max_tokens = 512;    // of a step
  int64_t max_sequences = 64;  // in flight
  int64_t max_logit_rows = 64;
  int64_t block_size = 64;
};

// `tokens` new tokens of a sequence, after its `computed` ones; the last `rows` need logits.
struct ScheduledSequence {
  Sequence* sequence = nullptr;
  int64_t tokens = 0;
  int64_t rows = 0;
};

struct StepPlan {
  std::vector<ScheduledSequence> scheduled;
  std::vector<Sequence*> admitted;  // left the queue in this step

  void clear() {  // keeps the memory
    scheduled.clear();
    admitted.clear();
  }
};

// First come, first served. A sequence is admitted when its worst case (max_length) fits into the
// blocks that nobody has reserved, so that nobody runs out later; decode tokens come first, then
// prompts in chunks of what is left of max_tokens. No more sequences are in flight than a step has
// tokens and logit rows, so that decoding never waits.
class Scheduler {
 public:
  Scheduler(const SchedulerLimits& limits, BlockPool& pool);

  // False when its worst case exceeds the whole pool: it could never run.
  bool can_ever_run(const Sequence& sequence) const;
  // The sequence stays the caller's and must live until remove(). Throws Error(kInternal) when it
  // could never run.
  void enqueue(Sequence* sequence);
  // Plans a step, moves sequences from waiting to running, gives slots and blocks. An empty plan:
  // nothing to do. Whoever carries it out advances `computed` and appends the new tokens, or, to
  // plan the next step before they are known, what stands for them.
  void plan(StepPlan& plan);
  // Takes a sequence out, waiting or running, and returns its slot and blocks.
  void remove(Sequence* sequence);

  const SchedulerLimits& limits() const { return limits_; }
  const std::deque<Sequence*>& waiting() const { return waiting_; }
  const std::vector<Sequence*>& running() const { return running_; }
  int64_t reserved_blocks() const { return reserved_; }

 private:
  int64_t worst_case_blocks(const Sequence& sequence) const;
  void schedule(Sequence& sequence, StepPlan& plan);
  void admit(StepPlan& plan);

  SchedulerLimits limits_;
  BlockPool& pool_;
  std::deque<Sequence*> waiting_;
  std::vector<Sequence*> running_;  // in order of admission
  std::vector<int64_t> free_slots_;
  int64_t reserved_ = 0;     // worst case of all running sequences
  int64_t tokens_left_ = 0;  // of the step being planned
  int64_t rows_left_ = 0;
};

}  // namespace brayton
