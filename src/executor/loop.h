// The loop: take what clients posted, plan, run, sample, deliver; again.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "executor/inbox.h"
#include "executor/kv_cache/block_pool.h"
#include "executor/runner.h"
#include "executor/scheduler/scheduler.h"
#include "executor/step_counters.h"
#include "executor/step_sampler.h"
#include "program/program.h"
#include "sampling/sampler.h"

namespace brayton {

// Owns every request in flight. All of it belongs to the thread that calls run().
class Loop {
 public:
  Loop(Program& program, const RequestLimits& limits, int64_t depth, Inbox& inbox,
       StepCounters& counters);

  // Returns after a kStop message, when every request has been ended.
  void run();

 private:
  // What a launched step will do to one of its sequences.
  struct Entry {
    ActiveRequest* active = nullptr;
    bool in_prompt = false;
    bool complete = false;    // nothing is drawn: the prompt was all that was asked for
    int64_t token_index = 0;  // in the sequence, of the token drawn; 0: none
    std::string error;
  };
  // A step from its launch to its commit; the memory is kept.
  struct Flight {
    StepPlan plan;
    std::vector<Entry> entries;      // by scheduled sequence
    std::vector<Sampler::Row> rows;  // to be drawn from, in the order of the entries
    std::vector<SampledToken> sampled;
    Clock::duration sampling{};  // on the host
  };

  void take_messages();
  void step(Clock::time_point start);
  void admit(const StepPlan& plan);
  void launch(Flight& flight);
  void plan_rows(Flight& flight);
  // Prompt log-probabilities and logits, before the sampler changes the rows.
  void read_rows(Flight& flight);
  void advance(Flight& flight);
  void commit(Flight& flight);
  void deliver_token(ActiveRequest& active, int64_t token_index, SampledToken& sampled);

  // A request that a step under way computes is removed when the last of them is committed.
  void finish(ActiveRequest& active, FinishReason reason, const std::string& error = {});
  void remove(ActiveRequest& active);
  void fail(const StepPlan& plan, const std::string& error);
  void finish_all(FinishReason reason, const std::string& error = {});
  void abandon_flights();
  ActiveRequest& owner(const Sequence& sequence) { return *by_slot_[sequence.slot]; }

  Program& program_;
  const RequestLimits& limits_;
  Inbox& inbox_;
  StepCounters& counters_;

  BlockPool pool_;
  Scheduler scheduler_;
  Runner runner_;
  std::unique_ptr<StepSampler> sampler_;
  std::map<RequestId, std::unique_ptr<ActiveRequest>> active_;
  std::vector<ActiveRequest*> by_slot_;  // of running sequences
  bool stop_ = false;

  std::vector<Flight> flights_;  // a ring; those under way begin at oldest_
  size_t oldest_ = 0;
  size_t under_way_ = 0;
  Clock::duration waited_{};  // in this step, for the device or the host's own model run
  std::vector<std::unique_ptr<InboxMessage>> messages_;
};

}  // namespace brayton
