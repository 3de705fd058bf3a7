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

// `tokens` new tokens of a sequence, after its `computed` ones.
struct ScheduledSequence {
  Sequence* sequence = nullptr;
  int64_t tokens = 0;
};

struct StepPlan {
  std::vector<ScheduledSequence> scheduled;
  std::vector<Sequence*> admitted;  // left the queue in this step
};

// First come, first served. A sequence is admitted when its worst case (max_length) fits into the
// blocks that nobody has reserved, so that nobody runs out later; decode tokens come first, then
// prompts in chunks of what is left of max_tokens.
class Scheduler {
 public:
  Scheduler(const SchedulerLimits& limits, BlockPool& pool) : limits_(limits), pool_(pool) {}

  // False when its worst case exceeds the whole pool: it could never run.
  bool can_ever_run(const Sequence& sequence) const;
  void enqueue(Sequence* sequence);
  // Plans a step, moves sequences from waiting to running, gives blocks. Empty: nothing to do.
  StepPlan plan();
  // Takes a sequence out, waiting or running, and returns its blocks.
  void remove(Sequence* sequence);

  const std::deque<Sequence*>& waiting() const { return waiting_; }
  const std::vector<Sequence*>& running() const { return running_; }
  int64_t reserved_blocks() const { return reserved_; }

 private:
  int64_t worst_case_blocks(const Sequence& sequence) const;

  SchedulerLimits limits_;
  BlockPool& pool_;
  std::deque<Sequence*> waiting_;
  std::vector<Sequence*> running_;  // in order of admission
  std::vector<int64_t> free_slots_;
  int64_t reserved_ = 0;            // worst case of all running sequences
};

}  // namespace brayton
