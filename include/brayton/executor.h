// In-flight batching over token ids: enqueue from any thread, tokens come back by callback.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "brayton/request.h"

namespace brayton {

class Program;

// max_tokens is cut to what fits into the model's positions and the KV cache; 0 computes the prompt
// only, for its log-probabilities and logits.
struct Request {
  std::vector<int32_t> prompt;   // at least one id, all within the vocabulary
  SamplingParams sampling;       // `stop` strings are not looked at here: they need text
  bool prompt_logprobs = false;  // of each prompt token but the first
  bool return_logits = false;    // those after the prompt's last token
};

struct RequestResult {
  RequestId id = 0;
  std::vector<TokenOutput> tokens;  // an eos or stop token that ended it is the last of them
  FinishReason finish_reason = FinishReason::kNone;
  std::string error;                   // when kError
  std::vector<float> prompt_logprobs;  // [prompt - 1] when asked for
  std::vector<float> logits;           // [vocab] when asked for
  double queue_ms = 0;                 // from enqueue to the first step
  double first_token_ms = 0;           // from enqueue
  double total_ms = 0;
};

struct RequestCallbacks {
  // Called on the loop thread for every token, an ending one included: must be quick. Return false
  // to cancel. An exception ends this request with kError.
  std::function<bool(const TokenOutput&)> on_token;
  // Exactly once, on the loop thread; an exception is logged. May enqueue and cancel, not await.
  std::function<void(const RequestResult&)> on_finish;
};

struct ExecutorOptions {
  int64_t max_queue_size = 0;  // waiting requests; 0: no limit
  // Steps launched before the tokens of the oldest are known, 1 or 2; 0: 1 on a CPU, 2 on a GPU.
  int64_t depth = 0;
};

// Counters since the start; a snapshot.
struct ExecutorStats {
  int64_t steps = 0;
  int64_t generated_tokens = 0;
  int64_t prompt_tokens = 0;
  int64_t waiting = 0;
  int64_t running = 0;
  int64_t used_blocks = 0;
  int64_t total_blocks = 0;
  // Microseconds of each of the last steps, at most 4096, newest last. Host work is all but the
  // model's run and the sampling: inbox, plan, inputs, tokens, callbacks.
  std::vector<float> host_us;
  std::vector<float> sampling_us;
};

// One loop thread owns all state; every method may be called from any thread.
class Executor {
 public:
  Executor(std::shared_ptr<Program> program, const ExecutorOptions& options = {});
  // Cancels what is in flight; clients inside await get their results. Not from a callback.
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // Throws Error(kInvalidArgument) for a request that could never run, naming field, value and
  // limit, and Error(kResourceExhausted) when the queue is full.
  RequestId enqueue(Request request, RequestCallbacks callbacks = {});
  // Waits for the end of one request that was enqueued without on_finish; hands its result over,
  // once. Until then the result is kept. Throws Error(kInvalidArgument) for any other id.
  RequestResult await(RequestId id);
  // Tokens so far are kept, blocks freed before the next step. Unknown ids are ignored.
  void cancel(RequestId id);
  ExecutorStats stats() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace brayton
