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
#include "program/program.h"
#include "sampling/sampler.h"

namespace brayton {

// Owns every request in flight. All of it belongs to the thread that calls run().
class Loop {
 public:
  Loop(Program& program, const RequestLimits& limits, Inbox& inbox, StepCounters& counters);

  // Returns after a kStop message, when every request has been ended.
  void run();

 private:
  void take_messages();
  void step(Clock::time_point start);
  void admit(const StepPlan& plan);
  // Prompt log-probabilities and logits, before the sampler changes the rows; lists those to
  // sample.
  void read_rows(const TensorView& logits);
  void commit();
  void deliver_token(ActiveRequest& active, SampledToken& sampled);

  void finish(ActiveRequest& active, FinishReason reason, const std::string& error = {});
  void fail_scheduled(const std::string& error);
  void finish_all(FinishReason reason, const std::string& error = {});
  ActiveRequest& owner(const Sequence& sequence) { return *by_slot_[sequence.slot]; }

  Program& program_;
  const RequestLimits& limits_;
  Inbox& inbox_;
  StepCounters& counters_;

  BlockPool pool_;
  Scheduler scheduler_;
  Sampler sampler_;
  Runner runner_;
  std::map<RequestId, std::unique_ptr<ActiveRequest>> active_;
  std::vector<ActiveRequest*> by_slot_;  // of running sequences
  bool stop_ = false;

  // Of the step at hand; the memory is kept.
  std::vector<std::unique_ptr<InboxMessage>> messages_;
  StepPlan plan_;
  std::vector<Sampler::Row> sample_rows_;
  std::vector<SampledToken> sampled_;    // one per sample row
  std::vector<std::string> row_errors_;  // one per scheduled sequence
};

}  // namespace brayton
