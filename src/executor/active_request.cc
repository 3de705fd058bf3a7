#include "executor/active_request.h"

#include <algorithm>

#include "core/format.h"
#include "sampling/device_sampler.h"
#include "sampling/sampler.h"

namespace brayton {
namespace {

constexpr int64_t kReservedTokens = 1024;  // of memory for the answer, before it must grow

bool contains(const std::vector<int32_t>& ids, int32_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

void check_prompt(const Request& request, const RequestLimits& limits) {
  const auto& prompt = request.prompt;
  if (prompt.empty())
    throw_error(ErrorCode::kInvalidArgument,
                "[request] prompt must hold at least one token id, got none");
  for (size_t i = 0; i < prompt.size(); ++i)
    if (prompt[i] < 0 || prompt[i] >= limits.vocab_size)
      throw_error(ErrorCode::kInvalidArgument,
                  "[request] prompt must name ids of the vocabulary, [0, {}), got {} at {}",
                  limits.vocab_size, prompt[i], i);
  // One position is left for the first token of the answer.
  const int64_t longest = limits.capacity() - (request.sampling.max_tokens > 0 ? 1 : 0);
  const auto length = static_cast<int64_t>(prompt.size());
  if (length <= longest) return;
  if (limits.max_positions <= limits.cache_tokens)
    throw_error(ErrorCode::kInvalidArgument,
                "[request] prompt must be at most {} tokens (the model has {} positions), got {}; "
                "shorten it",
                longest, limits.max_positions, length);
  throw_error(ErrorCode::kInvalidArgument,
              "[request] prompt must be at most {} tokens (the KV cache holds {}), got {}; shorten "
              "it or raise kv_bytes",
              longest, limits.cache_tokens, length);
}

}  // namespace

std::unique_ptr<ActiveRequest> make_active_request(Request request, RequestCallbacks callbacks,
                                                   const RequestLimits& limits) {
  Sampler::check(request.sampling, limits.vocab_size);
  check_prompt(request, limits);

  auto active = std::make_unique<ActiveRequest>();
  const auto prompt_length = static_cast<int64_t>(request.prompt.size());
  const int64_t max_tokens =
      std::min(request.sampling.max_tokens, limits.capacity() - prompt_length);
  Sequence& sequence = active->sequence;
  sequence.tokens = std::move(request.prompt);
  sequence.prompt_length = prompt_length;
  sequence.max_length = prompt_length + max_tokens;
  sequence.prompt_logprobs = request.prompt_logprobs;
  const int64_t reserved = std::min(max_tokens, kReservedTokens);
  sequence.tokens.reserve(static_cast<size_t>(prompt_length + reserved));
  active->result.tokens.reserve(static_cast<size_t>(reserved));
  if (request.prompt_logprobs)
    active->result.prompt_logprobs.reserve(static_cast<size_t>(prompt_length - 1));

  if (!request.sampling.ignore_eos) active->end_ids = limits.eos_token_ids;
  for (int32_t id : request.sampling.stop_token_ids)
    if (!contains(active->end_ids, id)) active->end_ids.push_back(id);
  if (limits.on_device) DeviceSampler::check_limits(request.sampling, active->end_ids.size());
  active->return_logits = request.return_logits;
  active->sampling = std::move(request.sampling);
  active->callbacks = std::move(callbacks);
  active->enqueued = Clock::now();
  return active;
}

FinishReason finish_reason_after_token(const ActiveRequest& request, int32_t token, int64_t length,
                                       const std::vector<int32_t>& eos_token_ids) {
  if (contains(request.end_ids, token)) {
    const bool eos = !request.sampling.ignore_eos && contains(eos_token_ids, token);
    return eos ? FinishReason::kEos : FinishReason::kStop;
  }
  return length >= request.sequence.max_length ? FinishReason::kLength : FinishReason::kNone;
}

}  // namespace brayton
