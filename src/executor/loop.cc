#include "executor/loop.h"

#include <cmath>

#include "core/check.h"
#include "core/log.h"
#include "sampling/softmax.h"

namespace brayton {
namespace {

double microseconds(Clock::duration duration) {
  return std::chrono::duration<double, std::micro>(duration).count();
}

// Calls `f`; what it throws comes back as text.
template <class F>
std::string error_of(const F& f) {
  try {
    f();
    return {};
  } catch (const std::exception& e) {
    return *e.what() != '\0' ? e.what() : "an exception without a message";
  } catch (...) {
    return "an exception that is no std::exception";
  }
}

SchedulerLimits scheduler_limits(const ProgramOptions& options) {
  return {options.max_tokens, options.max_sequences, options.max_logit_rows, options.kv_block_size};
}

}  // namespace

Loop::Loop(Program& program, const RequestLimits& limits, int64_t depth, Inbox& inbox,
           StepCounters& counters)
    : program_(program),
      limits_(limits),
      inbox_(inbox),
      counters_(counters),
      pool_(program.options().kv_blocks),
      scheduler_(scheduler_limits(program.options()), pool_),
      runner_(program),
      sampler_(make_step_sampler(program, scheduler_.limits().max_sequences, depth)),
      by_slot_(static_cast<size_t>(scheduler_.limits().max_sequences)),
      flights_(sampler_->depth() + 1) {}

void Loop::run() {
  while (true) {
    if (active_.empty() && under_way_ == 0) inbox_.wait();
    const Clock::time_point start = Clock::now();
    take_messages();
    if (stop_) break;
    if (active_.empty() && under_way_ == 0) continue;
    // Nothing but a bug gets here; it ends the requests it may have damaged, not the loop.
    const std::string bug = error_of([&] { step(start); });
    if (!bug.empty()) {
      abandon_flights();
      finish_all(FinishReason::kError, bug);
    }
  }
  abandon_flights();
  finish_all(FinishReason::kCancelled);
}

void Loop::take_messages() {
  inbox_.take(messages_);
  for (auto& message : messages_) {
    switch (message->kind) {
      case InboxMessage::Kind::kEnqueue: {
        ActiveRequest& active = *message->request;
        active_.emplace(active.id, std::move(message->request));
        scheduler_.enqueue(&active.sequence);
        break;
      }
      case InboxMessage::Kind::kCancel: {
        const auto at = active_.find(message->id);
        if (at != active_.end()) finish(*at->second, FinishReason::kCancelled);
        break;
      }
      case InboxMessage::Kind::kStop:
        stop_ = true;
        break;
    }
  }
  messages_.clear();
}

// Launches the next step, then commits the oldest once as many are under way as the sampler allows,
// or none could be added.
void Loop::step(Clock::time_point start) {
  waited_ = {};
  Flight& next = flights_[(oldest_ + under_way_) % flights_.size()];
  scheduler_.plan(next.plan);
  const bool launched = !next.plan.scheduled.empty();
  if (launched) {
    const std::string error = error_of([&] { launch(next); });
    if (!error.empty()) return fail(next.plan, error);
    advance(next);
    ++under_way_;
    counters_.used_blocks.store(pool_.total() - pool_.available(), std::memory_order_relaxed);
  }
  BRAYTON_CHECK_GE(under_way_, 1u);
  if (launched && under_way_ < sampler_->depth()) return;
  Flight& oldest = flights_[oldest_];
  const Clock::time_point wait_begin = Clock::now();
  sampler_->collect(oldest.sampled);
  waited_ += Clock::now() - wait_begin;
  oldest_ = (oldest_ + 1) % flights_.size();
  --under_way_;
  counters_.steps.fetch_add(1, std::memory_order_relaxed);
  commit(oldest);
  counters_.sampling.add(microseconds(oldest.sampling));
  counters_.host.add(microseconds(Clock::now() - start - waited_));
}

void Loop::admit(const StepPlan& plan) {
  for (Sequence* sequence : plan.admitted) {
    ActiveRequest& active = *active_.at(sequence->id);
    by_slot_[sequence->slot] = &active;
    counters_.waiting.fetch_sub(1, std::memory_order_relaxed);
    active.result.queue_ms = active.milliseconds_since_enqueue();
  }
  for (Sequence* sequence : plan.admitted) {
    ActiveRequest& active = owner(*sequence);
    sampler_->admit(sequence->slot, active.sampling, active.seed, sequence->tokens, active.end_ids);
    active.has_sampler_slot = true;
  }
  counters_.running.store(static_cast<int64_t>(scheduler_.running().size()),
                          std::memory_order_relaxed);
}

void Loop::launch(Flight& flight) {
  admit(flight.plan);
  runner_.prepare(flight.plan);
  const Clock::time_point run_begin = Clock::now();
  runner_.launch();
  const Clock::time_point run_end = Clock::now();
  plan_rows(flight);
  read_rows(flight);
  const Clock::time_point sampling_begin = Clock::now();
  sampler_->launch(runner_, flight.rows);
  const Clock::time_point sampling_end = Clock::now();
  flight.sampling = sampling_end - sampling_begin;
  // Else the host itself was at the model.
  if (!sampler_->on_device()) waited_ += (run_end - run_begin) + (sampling_end - sampling_begin);
}

// Which rows are drawn from, and for whom.
void Loop::plan_rows(Flight& flight) {
  flight.rows.clear();
  flight.entries.assign(flight.plan.scheduled.size(), {});
  int64_t row = 0;
  for (size_t i = 0; i < flight.entries.size(); ++i) {
    const ScheduledSequence& scheduled = flight.plan.scheduled[i];
    const Sequence& sequence = *scheduled.sequence;
    Entry& entry = flight.entries[i];
    entry.active = &owner(sequence);
    entry.in_prompt = sequence.in_prompt();
    row += scheduled.rows;
    if (sequence.computed + scheduled.tokens < sequence.length()) continue;  // the prompt goes on
    entry.complete = sequence.length() >= sequence.max_length;
    if (entry.complete) continue;
    entry.token_index = sequence.length();
    flight.rows.push_back({row - 1, sequence.slot});
  }
}

void Loop::read_rows(Flight& flight) {
  TensorView logits;  // waited for when somebody wants them
  const int64_t vocab = limits_.vocab_size;
  int64_t row = 0;
  for (size_t i = 0; i < flight.entries.size(); ++i) {
    const ScheduledSequence& scheduled = flight.plan.scheduled[i];
    const Sequence& sequence = *scheduled.sequence;
    ActiveRequest& active = *flight.entries[i].active;
    const int64_t end = sequence.computed + scheduled.tokens;
    const bool scored = sequence.in_prompt() && sequence.prompt_logprobs;
    const bool returned = active.return_logits && end == sequence.prompt_length;
    if ((scored || returned) && !logits) logits = runner_.host_logits();
    if (scored) {
      for (int64_t t = sequence.computed; t < end && t + 1 < sequence.prompt_length; ++t) {
        const float* x = logits.row_as<float>(row + t - sequence.computed);
        const double logprob = log_probability(x, vocab, sequence.tokens[t + 1]);
        if (std::isnan(logprob))
          flight.entries[i].error = format(
              "[request] prompt_logprobs must come from finite logits: the model gave NaN or "
              "infinity after prompt token {}",
              t);
        active.result.prompt_logprobs.push_back(static_cast<float>(logprob));
      }
    }
    row += scheduled.rows;
    if (returned) {
      const float* x = logits.row_as<float>(row - 1);
      active.result.logits.assign(x, x + vocab);
    }
  }
}

// The sequences as they will be when the step has ended: the next step is planned with them.
void Loop::advance(Flight& flight) {
  for (size_t i = 0; i < flight.entries.size(); ++i) {
    Sequence& sequence = *flight.plan.scheduled[i].sequence;
    sequence.computed += flight.plan.scheduled[i].tokens;
    if (flight.entries[i].token_index > 0)
      sequence.tokens.push_back(static_cast<int32_t>(-1 - sequence.slot));
    ++flight.entries[i].active->steps_under_way;
  }
}

void Loop::commit(Flight& flight) {
  size_t next_sample = 0;
  for (size_t i = 0; i < flight.entries.size(); ++i) {
    Entry& entry = flight.entries[i];
    ActiveRequest& active = *entry.active;
    SampledToken* sampled = entry.token_index > 0 ? &flight.sampled.at(next_sample++) : nullptr;
    --active.steps_under_way;
    if (active.sequence.ended) {
      if (active.steps_under_way == 0) remove(active);
      continue;
    }
    if (entry.in_prompt)
      counters_.prompt_tokens.fetch_add(flight.plan.scheduled[i].tokens, std::memory_order_relaxed);
    if (!entry.error.empty())
      finish(active, FinishReason::kError, entry.error);
    else if (sampled)
      deliver_token(active, entry.token_index, *sampled);
    else if (entry.complete)
      finish(active, FinishReason::kLength);
  }
  counters_.used_blocks.store(pool_.total() - pool_.available(), std::memory_order_relaxed);
}

void Loop::deliver_token(ActiveRequest& active, int64_t token_index, SampledToken& sampled) {
  if (!sampled.error.empty()) return finish(active, FinishReason::kError, sampled.error);
  const int32_t token = sampled.output.token;
  active.sequence.tokens[static_cast<size_t>(token_index)] = token;
  active.result.tokens.push_back(std::move(sampled.output));
  counters_.generated_tokens.fetch_add(1, std::memory_order_relaxed);
  if (active.result.tokens.size() == 1)
    active.result.first_token_ms = active.milliseconds_since_enqueue();
  bool go_on = true;
  if (active.callbacks.on_token) {
    const std::string error =
        error_of([&] { go_on = active.callbacks.on_token(active.result.tokens.back()); });
    if (!error.empty())
      return finish(active, FinishReason::kError, "[request] on_token must not throw: " + error);
  }
  FinishReason reason =
      finish_reason_after_token(active, token, token_index + 1, limits_.eos_token_ids);
  if (reason == FinishReason::kNone && !go_on) reason = FinishReason::kCancelled;
  if (reason != FinishReason::kNone) finish(active, reason);
}

void Loop::finish(ActiveRequest& active, FinishReason reason, const std::string& error) {
  if (active.sequence.ended) return;
  active.sequence.ended = true;
  active.result.finish_reason = reason;
  active.result.error = error;
  if (active.steps_under_way == 0) remove(active);
}

// Takes the request out of everything first, so that whoever hears of its end sees it gone.
void Loop::remove(ActiveRequest& active) {
  auto node = active_.extract(active.id);
  BRAYTON_CHECK(!node.empty());
  Sequence& sequence = active.sequence;
  if (sequence.slot >= 0) {
    if (active.has_sampler_slot) sampler_->release(sequence.slot);
    by_slot_[sequence.slot] = nullptr;
  } else {
    counters_.waiting.fetch_sub(1, std::memory_order_relaxed);
  }
  scheduler_.remove(&sequence);
  counters_.running.store(static_cast<int64_t>(scheduler_.running().size()),
                          std::memory_order_relaxed);
  counters_.used_blocks.store(pool_.total() - pool_.available(), std::memory_order_relaxed);

  RequestResult& result = active.result;
  result.id = active.id;
  result.total_ms = active.milliseconds_since_enqueue();
  if (!active.callbacks.on_finish) return active.promise.set_value(std::move(result));
  const std::string fault = error_of([&] { active.callbacks.on_finish(result); });
  if (!fault.empty()) log_warning("[request] on_finish must not throw: {}", fault);
}

void Loop::fail(const StepPlan& plan, const std::string& error) {
  for (const ScheduledSequence& entry : plan.scheduled)
    finish(*active_.at(entry.sequence->id), FinishReason::kError, error);
}

void Loop::finish_all(FinishReason reason, const std::string& error) {
  while (!active_.empty()) {
    ActiveRequest& active = *active_.begin()->second;
    finish(active, reason, error);
  }
}

// Forgets the steps under way; what they computed for is removed with its request.
void Loop::abandon_flights() {
  std::vector<SampledToken> dropped;
  for (; under_way_ > 0; --under_way_) error_of([&] { sampler_->collect(dropped); });
  for (auto at = active_.begin(); at != active_.end();) {
    ActiveRequest& active = *(at++)->second;
    active.steps_under_way = 0;
    if (active.sequence.ended) remove(active);
  }
}

}  // namespace brayton
