// First come, first served within the budgets, and nobody ever runs out of blocks.
#include "executor/scheduler/scheduler.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <random>
#include <set>

#include "brayton/error.h"

namespace brayton {
namespace {

Sequence make_sequence(RequestId id, int64_t prompt, int64_t max_tokens) {
  Sequence sequence;
  sequence.id = id;
  sequence.tokens.assign(static_cast<size_t>(prompt), 1);
  sequence.prompt_length = prompt;
  sequence.max_length = prompt + max_tokens;
  return sequence;
}

// What the loop does after a step; true for those that are complete.
bool carry_out(const ScheduledSequence& entry) {
  Sequence& sequence = *entry.sequence;
  sequence.computed += entry.tokens;
  if (sequence.computed == sequence.length() && sequence.length() < sequence.max_length)
    sequence.tokens.push_back(1);
  return sequence.length() == sequence.max_length;
}

struct Entry {
  RequestId id;
  int64_t tokens, rows;
  friend bool operator==(const Entry&, const Entry&) = default;
  friend void PrintTo(const Entry& e, std::ostream* out) {
    *out << "{" << e.id << ", " << e.tokens << ", " << e.rows << "}";
  }
};

std::vector<Entry> step(Scheduler& scheduler) {
  StepPlan plan;
  scheduler.plan(plan);
  std::vector<Entry> entries;
  for (const ScheduledSequence& entry : plan.scheduled) {
    entries.push_back({entry.sequence->id, entry.tokens, entry.rows});
    carry_out(entry);
  }
  return entries;
}

using Entries = std::vector<Entry>;

TEST(Scheduler, NothingToDoIsAnEmptyPlan) {
  BlockPool pool(4);
  Scheduler scheduler({}, pool);
  EXPECT_EQ(step(scheduler), Entries{});
}

TEST(Scheduler, TwoRequestsShareAStepAndTheLongPromptComesInChunks) {
  BlockPool pool(100);
  Scheduler scheduler({.max_tokens = 8, .max_sequences = 4, .max_logit_rows = 4, .block_size = 4},
                      pool);
  Sequence a = make_sequence(1, 3, 10), b = make_sequence(2, 12, 5);
  scheduler.enqueue(&a);
  scheduler.enqueue(&b);
  EXPECT_EQ(step(scheduler), (Entries{{1, 3, 1}, {2, 5, 0}}));
  EXPECT_EQ(a.blocks.size(), 1u);
  EXPECT_EQ(b.blocks.size(), 2u);
  EXPECT_EQ(step(scheduler), (Entries{{1, 1, 1}, {2, 7, 1}}));  // a decodes first
  EXPECT_EQ(step(scheduler), (Entries{{1, 1, 1}, {2, 1, 1}}));
  EXPECT_EQ(b.blocks.size(), 4u);
}

TEST(Scheduler, DecodeTokensComeBeforePrompts) {
  BlockPool pool(100);
  Scheduler scheduler({.max_tokens = 4, .max_sequences = 4, .max_logit_rows = 4, .block_size = 4},
                      pool);
  Sequence a = make_sequence(1, 9, 5), b = make_sequence(2, 2, 5);
  scheduler.enqueue(&a);
  EXPECT_EQ(step(scheduler), (Entries{{1, 4, 0}}));
  scheduler.enqueue(&b);
  EXPECT_EQ(step(scheduler), (Entries{{1, 4, 0}}));             // first come
  EXPECT_EQ(step(scheduler), (Entries{{1, 1, 1}, {2, 2, 1}}));  // what is left of the step
  Sequence c = make_sequence(3, 9, 5);
  scheduler.enqueue(&c);
  EXPECT_EQ(step(scheduler), (Entries{{1, 1, 1}, {2, 1, 1}, {3, 2, 0}}));
}

TEST(Scheduler, TheWorstCaseIsReservedAtAdmission) {
  BlockPool pool(4);
  Scheduler scheduler({.max_tokens = 64, .max_sequences = 4, .max_logit_rows = 4, .block_size = 4},
                      pool);
  Sequence a = make_sequence(1, 2, 10), b = make_sequence(2, 4, 4), c = make_sequence(3, 1, 1);
  scheduler.enqueue(&a);  // 3 blocks at worst
  scheduler.enqueue(&b);  // 2
  scheduler.enqueue(&c);  // 1 would fit, but b was first
  EXPECT_EQ(step(scheduler), (Entries{{1, 2, 1}}));
  EXPECT_EQ(scheduler.reserved_blocks(), 3);
  EXPECT_EQ(pool.available(), 3);
  EXPECT_EQ(scheduler.waiting().size(), 2u);
  scheduler.remove(&a);
  EXPECT_EQ(step(scheduler), (Entries{{2, 4, 1}, {3, 1, 1}}));
  EXPECT_EQ(scheduler.reserved_blocks(), 3);
}

TEST(Scheduler, ASequenceLargerThanThePoolCanNeverRun) {
  BlockPool pool(4);
  Scheduler scheduler({.block_size = 4}, pool);
  Sequence fits = make_sequence(1, 8, 8), too_large = make_sequence(2, 8, 9);
  EXPECT_TRUE(scheduler.can_ever_run(fits));
  EXPECT_FALSE(scheduler.can_ever_run(too_large));
  EXPECT_THROW(scheduler.enqueue(&too_large), Error);
}

TEST(Scheduler, PromptLogprobsAreLimitedByTheLogitRows) {
  BlockPool pool(100);
  Scheduler scheduler({.max_tokens = 16, .max_sequences = 4, .max_logit_rows = 4, .block_size = 4},
                      pool);
  Sequence a = make_sequence(1, 2, 5), b = make_sequence(2, 7, 5), c = make_sequence(3, 20, 5);
  b.prompt_logprobs = true;
  scheduler.enqueue(&a);
  scheduler.enqueue(&b);
  scheduler.enqueue(&c);
  EXPECT_EQ(step(scheduler), (Entries{{1, 2, 1}, {2, 3, 3}}));  // no row left: c waits
  EXPECT_EQ(step(scheduler), (Entries{{1, 1, 1}, {2, 3, 3}}));
  EXPECT_EQ(step(scheduler), (Entries{{1, 1, 1}, {2, 1, 1}, {3, 14, 0}}));
  EXPECT_EQ(step(scheduler), (Entries{{1, 1, 1}, {2, 1, 1}, {3, 6, 1}}));
}

TEST(Scheduler, NoMoreInFlightThanAStepHolds) {
  for (const SchedulerLimits& limits :
       {SchedulerLimits{.max_tokens = 2, .max_sequences = 9, .max_logit_rows = 9, .block_size = 4},
        SchedulerLimits{.max_tokens = 9, .max_sequences = 2, .max_logit_rows = 9, .block_size = 4},
        SchedulerLimits{
            .max_tokens = 9, .max_sequences = 9, .max_logit_rows = 2, .block_size = 4}}) {
    BlockPool pool(100);
    Scheduler scheduler(limits, pool);
    std::vector<Sequence> sequences;
    for (RequestId id = 1; id <= 3; ++id) sequences.push_back(make_sequence(id, 1, 5));
    for (Sequence& sequence : sequences) scheduler.enqueue(&sequence);
    EXPECT_EQ(step(scheduler), (Entries{{1, 1, 1}, {2, 1, 1}}));
    EXPECT_EQ(step(scheduler), (Entries{{1, 1, 1}, {2, 1, 1}}));
    scheduler.remove(&sequences[0]);
    EXPECT_EQ(step(scheduler), (Entries{{2, 1, 1}, {3, 1, 1}}));
  }
}

TEST(Scheduler, RemovingFromTheQueueOrTheBatchReturnsEverything) {
  BlockPool pool(4);
  Scheduler scheduler({.block_size = 4}, pool);
  Sequence a = make_sequence(1, 4, 12), b = make_sequence(2, 1, 1);
  scheduler.enqueue(&a);
  scheduler.enqueue(&b);
  step(scheduler);
  scheduler.remove(&b);
  scheduler.remove(&a);
  EXPECT_EQ(pool.available(), 4);
  EXPECT_EQ(scheduler.reserved_blocks(), 0);
  EXPECT_TRUE(scheduler.waiting().empty() && scheduler.running().empty());
  EXPECT_EQ(a.slot, -1);
  EXPECT_TRUE(a.blocks.empty());
  EXPECT_THROW(scheduler.remove(&a), Error);
}

// Every invariant that the loop and the device rely on, after each of 10^5 operations.
class RandomRun {
 public:
  explicit RandomRun(uint64_t seed) : random_(seed) {
    limits_ = {below(30) + 1, below(12) + 1, below(12) + 1, below(7) + 1};
    pool_ = std::make_unique<BlockPool>(below(60) + 1);
    scheduler_ = std::make_unique<Scheduler>(limits_, *pool_);
  }

  void run(int operations) {
    for (int i = 0; i < operations; ++i) {
      const int64_t action = below(10);
      if (action < 3) enqueue();
      if (action == 3 && !alive_.empty()) end(any());
      if (action > 3) one_step();
      if (testing::Test::HasFatalFailure()) return;
      check_ownership();
      if (testing::Test::HasFatalFailure()) return;
    }
    // All that is left runs to its end: no deadlock.
    for (int i = 0; !alive_.empty(); ++i) {
      ASSERT_LT(i, 200000) << "no progress";
      one_step();
      if (testing::Test::HasFatalFailure()) return;
    }
    EXPECT_EQ(pool_->available(), pool_->total());
    EXPECT_EQ(scheduler_->reserved_blocks(), 0);
    EXPECT_EQ(ended_, enqueued_);
  }

 private:
  int64_t below(int64_t n) { return static_cast<int64_t>(random_() % static_cast<uint64_t>(n)); }
  Sequence* any() {
    auto at = alive_.begin();
    std::advance(at, below(static_cast<int64_t>(alive_.size())));
    return at->second.get();
  }

  void enqueue() {
    if (alive_.size() > 40) return;
    auto sequence = std::make_unique<Sequence>(
        make_sequence(static_cast<RequestId>(++enqueued_), below(40) + 1, below(20)));
    sequence->prompt_logprobs = below(4) == 0;
    if (!scheduler_->can_ever_run(*sequence)) {
      --enqueued_;
      return;
    }
    scheduler_->enqueue(sequence.get());
    alive_[sequence->id] = std::move(sequence);
  }

  void end(Sequence* sequence) {
    scheduler_->remove(sequence);
    alive_.erase(sequence->id);
    ++ended_;
  }

  void one_step() {
    scheduler_->plan(plan_);
    ASSERT_EQ(plan_.scheduled.empty(), alive_.empty()) << "work, but an empty plan";
    int64_t tokens = 0, rows = 0;
    std::set<Sequence*> seen;
    for (const ScheduledSequence& entry : plan_.scheduled) {
      const Sequence& s = *entry.sequence;
      ASSERT_TRUE(seen.insert(entry.sequence).second) << "scheduled twice";
      ASSERT_GE(entry.tokens, 1);
      ASSERT_LE(s.computed + entry.tokens, s.length());
      ASSERT_GE(static_cast<int64_t>(s.blocks.size()) * limits_.block_size,
                s.computed + entry.tokens)
          << "no room for its keys";
      const bool whole = s.computed + entry.tokens == s.length();
      const bool all_rows = s.in_prompt() && s.prompt_logprobs;
      ASSERT_EQ(entry.rows, all_rows ? entry.tokens : whole ? 1 : 0);
      tokens += entry.tokens;
      rows += entry.rows;
    }
    ASSERT_LE(tokens, limits_.max_tokens);
    ASSERT_LE(rows, limits_.max_logit_rows);
    for (const Sequence* s : scheduler_->running()) {
      if (!s->in_prompt()) {
        ASSERT_TRUE(seen.count(const_cast<Sequence*>(s))) << "a decode token waits";
      }
    }
    for (const ScheduledSequence& entry : plan_.scheduled)
      if (carry_out(entry) || (!entry.sequence->in_prompt() && below(30) == 0)) end(entry.sequence);
  }

  // No block is lost, owned twice or owned by nobody; slots are distinct; FCFS holds.
  void check_ownership() {
    std::set<BlockId> blocks;
    std::set<int64_t> slots;
    int64_t reserved = 0;
    RequestId newest_running = 0;
    for (const Sequence* s : scheduler_->running()) {
      for (BlockId block : s->blocks) {
        ASSERT_TRUE(blocks.insert(block).second) << "block " << block << " has two owners";
        ASSERT_EQ(pool_->references(block), 1);
      }
      ASSERT_TRUE(slots.insert(s->slot).second);
      ASSERT_TRUE(s->slot >= 0 && s->slot < limits_.max_sequences);
      reserved += (s->max_length + limits_.block_size - 1) / limits_.block_size;
      newest_running = std::max(newest_running, s->id);
    }
    ASSERT_EQ(reserved, scheduler_->reserved_blocks());
    ASSERT_LE(reserved, pool_->total());
    ASSERT_EQ(pool_->available() + static_cast<int64_t>(blocks.size()), pool_->total());
    for (const Sequence* s : scheduler_->waiting()) {
      ASSERT_TRUE(s->blocks.empty());
      ASSERT_EQ(s->slot, -1);
      ASSERT_GT(s->id, newest_running) << "overtaken";
    }
    ASSERT_EQ(scheduler_->running().size() + scheduler_->waiting().size(), alive_.size());
  }

  std::mt19937_64 random_;
  SchedulerLimits limits_;
  std::unique_ptr<BlockPool> pool_;
  std::unique_ptr<Scheduler> scheduler_;
  std::map<RequestId, std::unique_ptr<Sequence>> alive_;
  StepPlan plan_;
  int64_t enqueued_ = 0;
  int64_t ended_ = 0;
};

TEST(Scheduler, InvariantsHoldInRandomRuns) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomRun(seed).run(2000);
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace brayton
