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

Loop::Loop(Program& program, const RequestLimits& limits, Inbox& inbox, StepCounters& counters)
    : program_(program),
      limits_(limits),
      inbox_(inbox),
      counters_(counters),
      pool_(program.options().kv_blocks),
      scheduler_(scheduler_limits(program.options()), pool_),
      sampler_(scheduler_.limits().max_sequences, limits.vocab_size),
      runner_(program),
      by_slot_(static_cast<size_t>(scheduler_.limits().max_sequences)) {}

void Loop::run() {
  while (true) {
    if (active_.empty()) inbox_.wait();
    const Clock::time_point start = Clock::now();
    take_messages();
    if (stop_) break;
    if (active_.empty()) continue;
    // Nothing but a bug gets here; it ends the requests it may have damaged, not the loop.
    const std::string bug = error_of([&] { step(start); });
    if (!bug.empty()) finish_all(FinishReason::kError, bug);
  }
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

void Loop::step(Clock::time_point start) {
  scheduler_.plan(plan_);
  BRAYTON_CHECK(!plan_.scheduled.empty());
  Clock::time_point run_begin, run_end, sampling_end;
  const std::string error = error_of([&] {
    admit(plan_);
    runner_.prepare(plan_);
    run_begin = Clock::now();
    const TensorView logits = runner_.run();
    run_end = Clock::now();
    read_rows(logits);
    sampler_.sample(logits, sample_rows_, sampled_);
    sampling_end = Clock::now();
  });
  if (!error.empty()) return fail_scheduled(error);
  counters_.steps.fetch_add(1, std::memory_order_relaxed);
  commit();
  counters_.sampling.add(microseconds(sampling_end - run_end));
  counters_.host.add(microseconds((run_begin - start) + (Clock::now() - sampling_end)));
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
    sampler_.admit(sequence->slot, active.sampling, active.seed, sequence->tokens, active.end_ids);
    active.has_sampler_slot = true;
  }
  counters_.running.store(static_cast<int64_t>(scheduler_.running().size()),
                          std::memory_order_relaxed);
}

void Loop::read_rows(const TensorView& logits) {
  sample_rows_.clear();
  row_errors_.assign(plan_.scheduled.size(), {});
  const int64_t vocab = limits_.vocab_size;
  int64_t row = 0;
  for (size_t i = 0; i < plan_.scheduled.size(); ++i) {
    const ScheduledSequence& entry = plan_.scheduled[i];
    const Sequence& sequence = *entry.sequence;
    ActiveRequest& active = owner(sequence);
    const int64_t end = sequence.computed + entry.tokens;
    if (sequence.in_prompt() && sequence.prompt_logprobs) {
      for (int64_t t = sequence.computed; t < end && t + 1 < sequence.prompt_length; ++t) {
        const float* x = logits.row_as<float>(row + t - sequence.computed);
        const double logprob = log_probability(x, vocab, sequence.tokens[t + 1]);
        if (std::isnan(logprob))
          row_errors_[i] = format(
              "[request] prompt_logprobs must come from finite logits: the model gave NaN or "
              "infinity after prompt token {}",
              t);
        active.result.prompt_logprobs.push_back(static_cast<float>(logprob));
      }
    }
    row += entry.rows;
    if (end < sequence.length()) continue;  // the prompt goes on in the next step
    const int64_t last_row = row - 1;
    if (active.return_logits && end == sequence.prompt_length) {
      const float* x = logits.row_as<float>(last_row);
      active.result.logits.assign(x, x + vocab);
    }
    if (row_errors_[i].empty() && sequence.length() < sequence.max_length)
      sample_rows_.push_back({last_row, sequence.slot});
  }
}

void Loop::commit() {
  size_t next_sample = 0;
  for (size_t i = 0; i < plan_.scheduled.size(); ++i) {
    Sequence& sequence = *plan_.scheduled[i].sequence;
    ActiveRequest& active = owner(sequence);
    if (sequence.in_prompt())
      counters_.prompt_tokens.fetch_add(plan_.scheduled[i].tokens, std::memory_order_relaxed);
    sequence.computed += plan_.scheduled[i].tokens;
    if (!row_errors_[i].empty()) {
      finish(active, FinishReason::kError, row_errors_[i]);
    } else if (next_sample < sample_rows_.size() &&
               sample_rows_[next_sample].slot == sequence.slot) {
      deliver_token(active, sampled_[next_sample++]);
    } else if (sequence.computed == sequence.length()) {
      finish(active, FinishReason::kLength);  // max_tokens is 0: the prompt was all
    }
  }
  counters_.used_blocks.store(pool_.total() - pool_.available(), std::memory_order_relaxed);
}

void Loop::deliver_token(ActiveRequest& active, SampledToken& sampled) {
  if (!sampled.error.empty()) return finish(active, FinishReason::kError, sampled.error);
  active.sequence.tokens.push_back(sampled.output.token);
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
  FinishReason reason = finish_reason_after_token(active, limits_.eos_token_ids);
  if (reason == FinishReason::kNone && !go_on) reason = FinishReason::kCancelled;
  if (reason != FinishReason::kNone) finish(active, reason);
}

// Takes the request out of everything first, so that whoever hears of its end sees it gone.
void Loop::finish(ActiveRequest& active, FinishReason reason, const std::string& error) {
  auto node = active_.extract(active.id);
  BRAYTON_CHECK(!node.empty());
  Sequence& sequence = active.sequence;
  if (sequence.slot >= 0) {
    if (active.has_sampler_slot) sampler_.release(sequence.slot);
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
  result.finish_reason = reason;
  result.error = error;
  result.total_ms = active.milliseconds_since_enqueue();
  if (!active.callbacks.on_finish) return active.promise.set_value(std::move(result));
  const std::string fault = error_of([&] { active.callbacks.on_finish(result); });
  if (!fault.empty()) log_warning("[request] on_finish must not throw: {}", fault);
}

void Loop::fail_scheduled(const std::string& error) {
  for (const ScheduledSequence& entry : plan_.scheduled)
    finish(*active_.at(entry.sequence->id), FinishReason::kError, error);
}

void Loop::finish_all(FinishReason reason, const std::string& error) {
  while (!active_.empty()) finish(*active_.begin()->second, reason, error);
}

}  // namespace brayton
