#include "brayton/executor.h"

#include <condition_variable>
#include <future>
#include <map>
#include <mutex>
#include <random>
#include <thread>

#include "core/check.h"
#include "executor/active_request.h"
#include "executor/inbox.h"
#include "executor/loop.h"
#include "executor/step_counters.h"
#include "program/program.h"
#include "sampling/random.h"

namespace brayton {
namespace {

RequestLimits request_limits(const Program& program) {
  const EngineModel& model = program.engine().model;
  const ProgramOptions& options = program.options();
  RequestLimits limits;
  limits.vocab_size = model.vocab_size;
  limits.max_positions = model.max_positions;
  limits.on_device = program.samples_on_device();
  limits.cache_tokens = options.kv_blocks * options.kv_block_size;
  for (int32_t id : model.eos_token_ids)
    if (id >= 0 && id < model.vocab_size) limits.eos_token_ids.push_back(id);
  return limits;
}

uint64_t random_seed() {
  std::random_device device;
  return (static_cast<uint64_t>(device()) << 32) | device();
}

}  // namespace

struct Executor::State {
  State(std::shared_ptr<Program> p, const ExecutorOptions& o)
      : program(std::move(p)),
        options(o),
        limits(request_limits(*program)),
        loop(*program, limits, o.depth, inbox, counters),
        thread([this] { loop.run(); }) {}

  const std::shared_ptr<Program> program;
  const ExecutorOptions options;
  const RequestLimits limits;
  const uint64_t seed = random_seed();  // of requests that bring none

  Inbox inbox;
  StepCounters counters;
  std::atomic<RequestId> next_id = 1;
  std::atomic<bool> stopping = false;

  std::mutex futures_mutex;  // between clients; the loop never takes it
  std::map<RequestId, std::future<RequestResult>> futures;
  int awaiting = 0;  // clients inside await
  std::condition_variable left;

  Loop loop;
  std::thread thread;  // last: everything it uses is there
};

Executor::Executor(std::shared_ptr<Program> program, const ExecutorOptions& options) {
  BRAYTON_CHECK(program != nullptr);
  if (options.max_queue_size < 0)
    throw_error(ErrorCode::kInvalidArgument,
                "[executor] max_queue_size must be >= 0 (0: no limit), got {}",
                options.max_queue_size);
  if (options.depth < 0 || options.depth > 2)
    throw_error(ErrorCode::kInvalidArgument,
                "[executor] depth must be 0 (by device), 1 or 2, got {}", options.depth);
  state_ = std::make_unique<State>(std::move(program), options);
}

Executor::~Executor() {
  state_->stopping.store(true);
  state_->inbox.post(std::make_unique<InboxMessage>());
  state_->thread.join();
  // Every result is there now: clients inside await leave at once.
  std::unique_lock lock(state_->futures_mutex);
  state_->left.wait(lock, [&] { return state_->awaiting == 0; });
}

RequestId Executor::enqueue(Request request, RequestCallbacks callbacks) {
  State& state = *state_;
  if (state.stopping.load())
    throw_error(ErrorCode::kCancelled, "[executor] must not be shutting down to take a request");
  auto message = std::make_unique<InboxMessage>();
  message->kind = InboxMessage::Kind::kEnqueue;
  message->request = make_active_request(std::move(request), std::move(callbacks), state.limits);
  ActiveRequest& active = *message->request;

  const int64_t limit = state.options.max_queue_size;
  const int64_t ahead = state.counters.waiting.fetch_add(1, std::memory_order_relaxed);
  if (limit > 0 && ahead >= limit) {
    state.counters.waiting.fetch_sub(1, std::memory_order_relaxed);
    throw_error(ErrorCode::kResourceExhausted,
                "[executor] waiting requests must be at most {}, got {}; retry later or raise "
                "max_queue_size",
                limit, ahead + 1);
  }
  const RequestId id = state.next_id.fetch_add(1, std::memory_order_relaxed);
  active.id = id;
  active.sequence.id = id;
  active.seed = active.sampling.seed.value_or(mix_bits(state.seed ^ mix_bits(id)));
  if (!active.callbacks.on_finish) {
    const std::lock_guard lock(state.futures_mutex);
    state.futures.emplace(id, active.promise.get_future());
  }
  state.inbox.post(std::move(message));
  return id;
}

RequestResult Executor::await(RequestId id) {
  State& state = *state_;
  if (std::this_thread::get_id() == state.thread.get_id())
    throw_error(ErrorCode::kInvalidArgument,
                "[await] must not be called from a callback: the loop would wait for itself");
  std::future<RequestResult> future;
  {
    const std::lock_guard lock(state.futures_mutex);
    const auto at = state.futures.find(id);
    if (at == state.futures.end())
      throw_error(ErrorCode::kInvalidArgument,
                  "[await] id must be that of a request without on_finish that was not awaited "
                  "yet, got {}",
                  id);
    future = std::move(at->second);
    state.futures.erase(at);
    ++state.awaiting;
  }
  future.wait();
  {
    const std::lock_guard lock(state.futures_mutex);
    if (--state.awaiting == 0) state.left.notify_all();
  }
  return future.get();
}

void Executor::cancel(RequestId id) {
  auto message = std::make_unique<InboxMessage>();
  message->kind = InboxMessage::Kind::kCancel;
  message->id = id;
  state_->inbox.post(std::move(message));
}

ExecutorStats Executor::stats() const {
  const StepCounters& counters = state_->counters;
  const ProgramOptions& options = state_->program->options();
  ExecutorStats stats;
  stats.steps = counters.steps.load(std::memory_order_relaxed);
  stats.generated_tokens = counters.generated_tokens.load(std::memory_order_relaxed);
  stats.prompt_tokens = counters.prompt_tokens.load(std::memory_order_relaxed);
  stats.waiting = counters.waiting.load(std::memory_order_relaxed);
  stats.running = counters.running.load(std::memory_order_relaxed);
  stats.used_blocks = counters.used_blocks.load(std::memory_order_relaxed);
  stats.total_blocks = options.kv_blocks;
  stats.host_us = counters.host.snapshot();
  stats.sampling_us = counters.sampling.snapshot();
  return stats;
}

}  // namespace brayton
