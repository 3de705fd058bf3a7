// A request from enqueue to its end. Made and checked on the client's thread, then the loop's.
#pragma once

#include <algorithm>
#include <chrono>
#include <future>
#include <memory>
#include <vector>

#include "brayton/executor.h"
#include "executor/sequence.h"

namespace brayton {

using Clock = std::chrono::steady_clock;

// What a request may ask of this model and cache.
struct RequestLimits {
  int64_t vocab_size = 0;
  int64_t max_positions = 0;           // of the model
  int64_t cache_tokens = 0;            // of the whole pool
  std::vector<int32_t> eos_token_ids;  // within the vocabulary
  bool on_device = false;              // tokens are drawn there, within DeviceSampler's limits

  int64_t capacity() const { return std::min(max_positions, cache_tokens); }
};

struct ActiveRequest {
  RequestId id = 0;
  SamplingParams sampling;
  uint64_t seed = 0;
  bool return_logits = false;
  std::vector<int32_t> end_ids;  // that end it: the model's unless ignore_eos, and its own
  Sequence sequence;             // holds the prompt
  RequestCallbacks callbacks;
  std::promise<RequestResult> promise;  // kept when there is no on_finish
  RequestResult result;
  Clock::time_point enqueued;
  bool has_sampler_slot = false;
  int steps_under_way = 0;  // launched, not yet committed

  double milliseconds_since_enqueue() const {
    return std::chrono::duration<double, std::milli>(Clock::now() - enqueued).count();
  }
};

// Throws Error(kInvalidArgument) naming field, value, limit and remedy. max_tokens is cut to what
// fits into the model's positions and the pool.
std::unique_ptr<ActiveRequest> make_active_request(Request request, RequestCallbacks callbacks,
                                                   const RequestLimits& limits);

// Why `token`, after which the sequence is `length` tokens long, ends the request: kEos, kStop,
// kLength; kNone when it goes on.
FinishReason finish_reason_after_token(const ActiveRequest& request, int32_t token, int64_t length,
                                       const std::vector<int32_t>& eos_token_ids);

}  // namespace brayton
