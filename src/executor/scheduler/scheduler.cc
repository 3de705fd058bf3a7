#include "executor/scheduler/scheduler.h"

#include <algorithm>

#include "core/check.h"

namespace brayton {
namespace {

int64_t blocks_for(int64_t tokens, int64_t block_size) {
  return (tokens + block_size - 1) / block_size;
}

}  // namespace

Scheduler::Scheduler(const SchedulerLimits& limits, BlockPool& pool)
    : limits_(limits), pool_(pool) {
  BRAYTON_CHECK_GE(limits.max_tokens, 1);
  BRAYTON_CHECK_GE(limits.max_sequences, 1);
  BRAYTON_CHECK_GE(limits.max_logit_rows, 1);
  BRAYTON_CHECK_GE(limits.block_size, 1);
  limits_.max_sequences =
      std::min({limits.max_sequences, limits.max_tokens, limits.max_logit_rows});
  for (int64_t slot = limits_.max_sequences; slot-- > 0;) free_slots_.push_back(slot);
}

int64_t Scheduler::worst_case_blocks(const Sequence& sequence) const {
  return blocks_for(sequence.max_length, limits_.block_size);
}

bool Scheduler::can_ever_run(const Sequence& sequence) const {
  return worst_case_blocks(sequence) <= pool_.total();
}

void Scheduler::enqueue(Sequence* sequence) {
  BRAYTON_CHECK(can_ever_run(*sequence));
  BRAYTON_CHECK_GE(sequence->length(), 1);
  BRAYTON_CHECK_LE(sequence->length(), sequence->max_length);
  waiting_.push_back(sequence);
}

void Scheduler::plan(StepPlan& plan) {
  plan.clear();
  tokens_left_ = limits_.max_tokens;
  rows_left_ = limits_.max_logit_rows;
  for (Sequence* sequence : running_)
    if (!sequence->in_prompt()) schedule(*sequence, plan);
  for (Sequence* sequence : running_)
    if (sequence->in_prompt()) schedule(*sequence, plan);
  admit(plan);
}

// As many of the sequence's pending tokens as the step has room for.
void Scheduler::schedule(Sequence& sequence, StepPlan& plan) {
  if (!sequence.wants_step()) return;
  const int64_t pending = sequence.length() - sequence.computed;
  int64_t tokens = std::min(pending, tokens_left_);
  int64_t rows = 0;
  if (sequence.in_prompt() && sequence.prompt_logprobs) {
    tokens = std::min(tokens, rows_left_);
    rows = tokens;
  } else if (tokens == pending) {
    rows = 1;
    if (rows_left_ == 0) tokens = 0;
  }
  if (tokens == 0) return;
  const int64_t held = static_cast<int64_t>(sequence.blocks.size());
  const int64_t needed = blocks_for(sequence.computed + tokens, limits_.block_size) - held;
  if (needed > 0) BRAYTON_CHECK(pool_.allocate(needed, sequence.blocks));
  tokens_left_ -= tokens;
  rows_left_ -= rows;
  plan.scheduled.push_back({&sequence, tokens, rows});
}

void Scheduler::admit(StepPlan& plan) {
  while (!waiting_.empty() && !free_slots_.empty() && tokens_left_ > 0 && rows_left_ > 0) {
    Sequence* sequence = waiting_.front();
    const int64_t worst = worst_case_blocks(*sequence);
    if (reserved_ + worst > pool_.total()) return;  // those behind it wait too
    waiting_.pop_front();
    sequence->slot = free_slots_.back();
    free_slots_.pop_back();
    reserved_ += worst;
    sequence->blocks.reserve(static_cast<size_t>(worst));
    running_.push_back(sequence);
    plan.admitted.push_back(sequence);
    schedule(*sequence, plan);
  }
}

void Scheduler::remove(Sequence* sequence) {
  if (sequence->slot < 0) {
    const auto at = std::find(waiting_.begin(), waiting_.end(), sequence);
    BRAYTON_CHECK(at != waiting_.end());
    waiting_.erase(at);
    return;
  }
  const auto at = std::find(running_.begin(), running_.end(), sequence);
  BRAYTON_CHECK(at != running_.end());
  running_.erase(at);
  for (BlockId block : sequence->blocks) pool_.release(block);
  sequence->blocks.clear();
  reserved_ -= worst_case_blocks(*sequence);
  free_slots_.push_back(sequence->slot);
  sequence->slot = -1;
}

}  // namespace brayton
