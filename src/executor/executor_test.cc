// A request gets the answer that the model alone would give, once, whatever happens to the others.
#include "brayton/executor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <condition_variable>
#include <future>
#include <mutex>
#include <random>
#include <thread>

#include "brayton/error.h"
#include "executor/fake_program.h"
#include "sampling/softmax.h"

namespace brayton {
namespace {

using Ids = std::vector<int32_t>;

ProgramOptions default_options() {
  return {.max_tokens = 64, .max_sequences = 8, .max_logit_rows = 16, .kv_block_size = 4,
          .kv_blocks = 256};
}

std::shared_ptr<FakeProgram> make_program(const ProgramOptions& options = default_options()) {
  return std::make_shared<FakeProgram>(options);
}

Ids random_prompt(uint64_t seed, size_t length) {
  std::mt19937_64 random(seed);
  Ids prompt(length);
  for (int32_t& id : prompt) id = static_cast<int32_t>(random() % (FakeProgram::kVocab - 1));
  return prompt;
}

Request make_request(Ids prompt, int64_t max_tokens) {
  Request request;
  request.prompt = std::move(prompt);
  request.sampling.max_tokens = max_tokens;
  return request;
}

Ids ids_of(const RequestResult& result) {
  Ids ids;
  for (const TokenOutput& token : result.tokens) ids.push_back(token.token);
  return ids;
}

// A prompt whose greedy answer has `length` tokens, the last of them eos.
Ids prompt_that_ends_after(size_t length) {
  for (uint64_t seed = 0;; ++seed) {
    const Ids prompt = random_prompt(seed, 5);
    const Ids answer = FakeProgram::greedy_answer(prompt, 200);
    if (answer.size() == length && answer.back() == FakeProgram::kEos) return prompt;
  }
}
// One whose answer has no eos among the first `length` tokens.
Ids prompt_that_goes_on_for(size_t length, uint64_t seed = 0) {
  for (seed *= 1000;; ++seed) {
    const Ids prompt = random_prompt(seed, 5);
    if (FakeProgram::greedy_answer(prompt, static_cast<int64_t>(length)).back() !=
        FakeProgram::kEos)
      return prompt;
  }
}

// Holds the loop inside Program::run until it is opened.
class Gate {
 public:
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void pass() {
    std::unique_lock lock(mutex_);
    arrived_ = true;
    changed_.notify_all();
    changed_.wait(lock, [&] { return open_; });
  }
  void wait_for_arrival() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return arrived_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false, arrived_ = false;
};

void expect_idle(const Executor& executor) {
  const ExecutorStats stats = executor.stats();
  EXPECT_EQ(stats.waiting, 0);
  EXPECT_EQ(stats.running, 0);
  EXPECT_EQ(stats.used_blocks, 0);
}

std::string enqueue_error(Executor& executor, const Request& request,
                          ErrorCode code = ErrorCode::kInvalidArgument) {
  try {
    executor.enqueue(request);
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), code);
    return e.what();
  }
  return "accepted";
}

TEST(Executor, AnswersAsTheModelAloneWould) {
  Executor executor(make_program());
  std::vector<RequestId> ids;
  for (uint64_t i = 0; i < 20; ++i)
    ids.push_back(executor.enqueue(make_request(random_prompt(i, 1 + 7 * i), 30)));
  for (uint64_t i = 0; i < 20; ++i) {
    const RequestResult result = executor.await(ids[i]);
    const Ids expected = FakeProgram::greedy_answer(random_prompt(i, 1 + 7 * i), 30);
    EXPECT_EQ(ids_of(result), expected) << i;
    EXPECT_EQ(result.id, ids[i]);
    EXPECT_EQ(result.finish_reason, expected.back() == FakeProgram::kEos ? FinishReason::kEos
                                                                         : FinishReason::kLength);
    EXPECT_GE(result.first_token_ms, result.queue_ms);
    EXPECT_GE(result.total_ms, result.first_token_ms);
  }
  expect_idle(executor);
}

TEST(Executor, EndsByEosStopIdOrLength) {
  Executor executor(make_program());
  Request request = make_request(prompt_that_ends_after(9), 50);
  const Ids answer = FakeProgram::greedy_answer(request.prompt, 50);
  RequestResult result = executor.await(executor.enqueue(request));
  EXPECT_EQ(result.finish_reason, FinishReason::kEos);
  EXPECT_EQ(ids_of(result), answer);  // with the eos

  request.sampling.stop_token_ids = {FakeProgram::kEos};
  EXPECT_EQ(executor.await(executor.enqueue(request)).finish_reason, FinishReason::kEos);
  request.sampling.ignore_eos = true;
  EXPECT_EQ(executor.await(executor.enqueue(request)).finish_reason, FinishReason::kStop);

  request.sampling.stop_token_ids = {answer[4]};
  result = executor.await(executor.enqueue(request));
  EXPECT_EQ(result.finish_reason, FinishReason::kStop);
  const auto first = std::find(answer.begin(), answer.end(), answer[4]);
  EXPECT_EQ(ids_of(result), Ids(answer.begin(), first + 1));

  request.sampling.stop_token_ids = {};
  result = executor.await(executor.enqueue(request));
  EXPECT_EQ(result.finish_reason, FinishReason::kLength);
  EXPECT_EQ(result.tokens.size(), 50u);

  request.sampling.ignore_eos = false;
  request.sampling.min_tokens = 12;
  result = executor.await(executor.enqueue(request));
  EXPECT_GE(result.tokens.size(), 12u);
  for (size_t i = 0; i < 12; ++i) EXPECT_NE(result.tokens[i].token, FakeProgram::kEos);
}

TEST(Executor, ChunkedPrefillEqualsWhole) {
  Request request = make_request(prompt_that_goes_on_for(10), 10);
  request.prompt = random_prompt(3, 200);
  request.prompt_logprobs = true;
  request.return_logits = true;
  ProgramOptions options = default_options();
  options.max_tokens = options.max_logit_rows = 200;
  Executor whole(make_program(options));
  const RequestResult expected = whole.await(whole.enqueue(request));
  ASSERT_EQ(expected.prompt_logprobs.size(), 199u);
  for (int64_t chunk : {1, 7, 64}) {
    options.max_tokens = chunk;
    options.max_logit_rows = std::max<int64_t>(1, chunk / 2);
    Executor chunked(make_program(options));
    const RequestResult result = chunked.await(chunked.enqueue(request));
    EXPECT_EQ(ids_of(result), ids_of(expected)) << chunk;
    EXPECT_EQ(result.prompt_logprobs, expected.prompt_logprobs) << chunk;
    EXPECT_EQ(result.logits, expected.logits) << chunk;
  }
}

TEST(Executor, PromptLogprobsAndLogitsAreTheModels) {
  Executor executor(make_program());
  Request request = make_request(random_prompt(8, 40), 0);  // the prompt only
  request.prompt_logprobs = true;
  request.return_logits = true;
  request.sampling.logit_bias = {{0, 50.0f}};  // changes no logits but the sampled ones
  for (int64_t max_tokens : {0, 1}) {
    request.sampling.max_tokens = max_tokens;
    const RequestResult result = executor.await(executor.enqueue(request));
    EXPECT_EQ(result.finish_reason, FinishReason::kLength);
    EXPECT_EQ(static_cast<int64_t>(result.tokens.size()), max_tokens);
    EXPECT_EQ(result.logits, FakeProgram::logits_after(request.prompt));
    ASSERT_EQ(result.prompt_logprobs.size(), 39u);
    for (size_t i = 0; i < 39; ++i) {
      const auto logits = FakeProgram::logits_after(
          Ids(request.prompt.begin(), request.prompt.begin() + static_cast<std::ptrdiff_t>(i) + 1));
      double sum = 0;
      for (float x : logits) sum += std::exp(static_cast<double>(x));
      EXPECT_NEAR(result.prompt_logprobs[i],
                  logits[static_cast<size_t>(request.prompt[i + 1])] - std::log(sum), 1e-5);
    }
  }
  expect_idle(executor);
}

TEST(Executor, StreamsEveryTokenThenFinishesOnce) {
  Executor executor(make_program());
  const Ids prompt = prompt_that_ends_after(12);
  Ids streamed;
  int finishes = 0;
  std::promise<RequestResult> finished;
  executor.enqueue(make_request(prompt, 50),
                   {[&](const TokenOutput& token) {
                      EXPECT_EQ(finishes, 0);
                      streamed.push_back(token.token);
                      return true;
                    },
                    [&](const RequestResult& result) {
                      ++finishes;
                      finished.set_value(result);
                    }});
  const RequestResult result = finished.get_future().get();
  EXPECT_EQ(streamed, FakeProgram::greedy_answer(prompt, 50));
  EXPECT_EQ(ids_of(result), streamed);
  EXPECT_EQ(finishes, 1);
}

TEST(Executor, ACallbackCancelsOrBreaksItsOwnRequestOnly) {
  Executor executor(make_program());
  const Ids prompt = prompt_that_goes_on_for(20);
  const auto with = [&](std::function<bool(const TokenOutput&)> on_token) {
    return executor.enqueue(make_request(prompt, 20), {std::move(on_token), {}});
  };
  int count = 0;
  const RequestId cancelled = with([&](const TokenOutput&) { return ++count < 3; });
  const RequestId broken =
      with([](const TokenOutput&) -> bool { throw std::runtime_error("the pipe is closed"); });
  const RequestId odd = with([](const TokenOutput&) -> bool { throw 7; });
  const RequestId sound = with([](const TokenOutput&) { return true; });

  RequestResult result = executor.await(cancelled);
  EXPECT_EQ(result.finish_reason, FinishReason::kCancelled);
  EXPECT_EQ(result.tokens.size(), 3u);
  result = executor.await(broken);
  EXPECT_EQ(result.finish_reason, FinishReason::kError);
  EXPECT_EQ(result.error, "[request] on_token must not throw: the pipe is closed");
  EXPECT_EQ(executor.await(odd).error,
            "[request] on_token must not throw: an exception that is no std::exception");
  EXPECT_EQ(ids_of(executor.await(sound)), FakeProgram::greedy_answer(prompt, 20));

  std::promise<void> called;
  executor.enqueue(make_request(prompt, 2), {{}, [&](const RequestResult&) {
                                               called.set_value();
                                               throw std::runtime_error("ignored");
                                             }});
  called.get_future().get();
  EXPECT_EQ(executor.await(executor.enqueue(make_request(prompt, 2))).tokens.size(), 2u);
  expect_idle(executor);
}

TEST(Executor, CallbacksMayEnqueueAndCancelButNotAwait) {
  auto program = make_program();
  Gate gate;
  program->before_run = [&](const StepInputs&) { gate.pass(); };
  Executor executor(program);
  const Ids prompt = prompt_that_goes_on_for(20);
  std::promise<RequestId> follower;
  std::string await_error;
  const RequestId victim = executor.enqueue(make_request(prompt_that_goes_on_for(50), 50));
  executor.enqueue(make_request(prompt, 3), {[&](const TokenOutput&) {
                                               executor.cancel(victim);
                                               return true;
                                             },
                                             [&](const RequestResult& result) {
                                               try {
                                                 executor.await(result.id);
                                               } catch (const Error& e) {
                                                 await_error = e.what();
                                               }
                                               follower.set_value(
                                                   executor.enqueue(make_request(prompt, 4)));
                                             }});
  gate.open();
  EXPECT_EQ(executor.await(follower.get_future().get()).tokens.size(), 4u);
  EXPECT_EQ(executor.await(victim).finish_reason, FinishReason::kCancelled);
  EXPECT_EQ(await_error,
            "[await] must not be called from a callback: the loop would wait for itself");
}

TEST(Executor, CancelsWhatWaitsAndWhatRuns) {
  ProgramOptions options = default_options();
  options.max_sequences = 1;
  auto program = make_program(options);
  Gate gate;
  program->before_run = [&](const StepInputs& in) {
    if (in.positions[0] > 0) gate.pass();  // the first decode step
  };
  Executor executor(program);
  const RequestId running = executor.enqueue(make_request(prompt_that_goes_on_for(20), 20));
  const RequestId waiting = executor.enqueue(make_request({1}, 20));
  const RequestId next = executor.enqueue(make_request(prompt_that_goes_on_for(5), 5));
  gate.wait_for_arrival();
  EXPECT_EQ(executor.stats().waiting, 2);
  EXPECT_EQ(executor.stats().running, 1);
  EXPECT_GT(executor.stats().used_blocks, 0);
  executor.cancel(waiting);
  executor.cancel(running);
  executor.cancel(12345);
  gate.open();
  RequestResult result = executor.await(running);
  EXPECT_EQ(result.finish_reason, FinishReason::kCancelled);
  EXPECT_EQ(result.tokens.size(), 2u);  // the prompt's and that of the step that was under way
  result = executor.await(waiting);
  EXPECT_EQ(result.finish_reason, FinishReason::kCancelled);
  EXPECT_TRUE(result.tokens.empty());
  EXPECT_EQ(executor.await(next).tokens.size(), 5u);
  executor.cancel(next);  // it has ended
  expect_idle(executor);
}

TEST(Executor, AFaultOfAStepEndsItsRequestsAndTheLoopGoesOn) {
  for (const bool standard : {true, false}) {
    auto program = make_program();
    std::atomic<bool> armed = true;
    program->before_run = [&](const StepInputs& in) {
      if (in.kv_lengths[0] == 8 && armed.exchange(false)) {
        if (standard) throw Error(ErrorCode::kEnvironment, "[cuda] the device is lost");
        throw 42;
      }
    };
    Executor executor(program);
    const Ids prompt = prompt_that_goes_on_for(20);
    const RequestResult failed = executor.await(executor.enqueue(make_request(prompt, 20)));
    EXPECT_EQ(failed.finish_reason, FinishReason::kError);
    EXPECT_EQ(failed.error, standard ? "[cuda] the device is lost"
                                     : "an exception that is no std::exception");
    EXPECT_EQ(failed.tokens.size(), 3u);  // positions 5 to 7
    const RequestResult sound = executor.await(executor.enqueue(make_request(prompt, 20)));
    EXPECT_EQ(ids_of(sound), FakeProgram::greedy_answer(prompt, 20));
    expect_idle(executor);
  }
}

TEST(Executor, BrokenLogitsEndTheirOwnRequestOnly) {
  auto program = make_program();
  constexpr int32_t kMark = 95;  // a prompt of this token gets NaN
  program->after_run = [](const StepInputs& in, std::vector<float>& logits) {
    for (int64_t r = 0; r < in.rows(); ++r)
      if (in.token_ids[in.logit_rows[r]] == kMark)
        logits[r * FakeProgram::kVocab + 5] = std::nanf("");
  };
  Executor executor(program);
  const auto has_mark = [&](const Ids& ids) {
    return std::find(ids.begin(), ids.end(), kMark) != ids.end();
  };
  uint64_t seed = 0;
  Ids prompt, expected;
  do {
    prompt = prompt_that_goes_on_for(20, seed++);
    expected = FakeProgram::greedy_answer(prompt, 20);
  } while (has_mark(prompt) || has_mark(expected));
  const RequestId sound = executor.enqueue(make_request(prompt, 20));
  const RequestId broken = executor.enqueue(make_request({1, kMark}, 20));
  Request scored_request = make_request({1, kMark, 3}, 20);
  scored_request.prompt_logprobs = true;
  const RequestId scored = executor.enqueue(scored_request);
  EXPECT_EQ(executor.await(broken).error,
            "[sampler] logits must not be NaN or +infinity: the model gave such values");
  EXPECT_EQ(executor.await(scored).error,
            "[request] prompt_logprobs must come from finite logits: the model gave NaN or "
            "infinity after prompt token 1");
  EXPECT_EQ(ids_of(executor.await(sound)), expected);
  expect_idle(executor);
}

TEST(Executor, TheQueueHasALimit) {
  ProgramOptions options = default_options();
  options.max_sequences = 1;
  auto program = make_program(options);
  Gate gate;
  program->before_run = [&](const StepInputs&) { gate.pass(); };
  Executor executor(program, {.max_queue_size = 2});
  const RequestId running = executor.enqueue(make_request({1}, 2));
  gate.wait_for_arrival();
  const RequestId first = executor.enqueue(make_request({2}, 2));
  const RequestId second = executor.enqueue(make_request({3}, 2));
  EXPECT_EQ(enqueue_error(executor, make_request({4}, 2), ErrorCode::kResourceExhausted),
            "[executor] waiting requests must be at most 2, got 3; retry later or raise "
            "max_queue_size");
  gate.open();
  for (RequestId id : {running, first, second}) executor.await(id);
  EXPECT_EQ(executor.await(executor.enqueue(make_request({4}, 2))).tokens.size(), 2u);
  EXPECT_THROW(Executor(make_program(), {.max_queue_size = -1}), Error);
}

TEST(Executor, BadRequestsAreRefusedAtOnce) {
  Executor executor(make_program());
  EXPECT_EQ(enqueue_error(executor, make_request({}, 5)),
            "[request] prompt must hold at least one token id, got none");
  EXPECT_EQ(enqueue_error(executor, make_request({1, 97}, 5)),
            "[request] prompt must name ids of the vocabulary, [0, 97), got 97 at 1");
  EXPECT_EQ(enqueue_error(executor, make_request({-1}, 5)),
            "[request] prompt must name ids of the vocabulary, [0, 97), got -1 at 0");
  Request request = make_request({1}, 5);
  request.sampling.temperature = std::nan("");
  EXPECT_EQ(enqueue_error(executor, request),
            "[request] temperature must be finite and >= 0, got nan");
  EXPECT_EQ(enqueue_error(executor, make_request(Ids(512, 1), 5)),
            "[request] prompt must be at most 511 tokens (the model has 512 positions), got 512; "
            "shorten it");
  EXPECT_EQ(enqueue_error(executor, make_request(Ids(513, 1), 0)),
            "[request] prompt must be at most 512 tokens (the model has 512 positions), got 513; "
            "shorten it");
  ProgramOptions options = default_options();
  options.kv_blocks = 10;
  Executor small(make_program(options));
  EXPECT_EQ(enqueue_error(small, make_request(Ids(40, 1), 5)),
            "[request] prompt must be at most 39 tokens (the KV cache holds 40), got 40; shorten "
            "it or raise kv_bytes");
  expect_idle(executor);
}

TEST(Executor, TheAnswerEndsWhereThePositionsOrTheCacheEnd) {
  ProgramOptions options = default_options();
  for (int64_t blocks : {256, 10}) {
    options.kv_blocks = blocks;
    const int64_t capacity = std::min<int64_t>(512, blocks * 4);
    Executor executor(make_program(options));
    Request request = make_request(random_prompt(1, static_cast<size_t>(capacity - 6)),
                                   std::numeric_limits<int64_t>::max());
    request.sampling.ignore_eos = true;
    const RequestResult result = executor.await(executor.enqueue(request));
    EXPECT_EQ(result.finish_reason, FinishReason::kLength);
    EXPECT_EQ(result.tokens.size(), 6u);
    request.prompt.resize(static_cast<size_t>(capacity));
    request.sampling.max_tokens = 0;
    EXPECT_TRUE(executor.await(executor.enqueue(request)).tokens.empty());
    expect_idle(executor);
  }
}

TEST(Executor, TheDestructorCancelsAndEveryoneHearsOnce) {
  auto program = make_program();
  Gate gate;
  program->before_run = [&](const StepInputs&) { gate.pass(); };
  auto executor = std::make_unique<Executor>(program);
  std::vector<int> finishes(20);
  std::vector<FinishReason> reasons(20);
  std::string late;
  for (size_t i = 0; i < finishes.size(); ++i)
    executor->enqueue(make_request(prompt_that_goes_on_for(100), 100),
                      {{}, [&, i, e = executor.get()](const RequestResult& result) {
                         ++finishes[i];
                         reasons[i] = result.finish_reason;
                         late = enqueue_error(*e, make_request({1}, 1), ErrorCode::kCancelled);
                       }});
  const RequestId awaited = executor->enqueue(make_request({1}, 100));
  std::promise<void> waiting;
  std::thread client([&, e = executor.get()] {
    waiting.set_value();
    EXPECT_EQ(e->await(awaited).finish_reason, FinishReason::kCancelled);
  });
  waiting.get_future().get();
  gate.wait_for_arrival();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // the client is inside await
  std::thread opener([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    gate.open();
  });
  executor.reset();
  client.join();
  opener.join();
  EXPECT_EQ(finishes, std::vector<int>(20, 1));
  EXPECT_EQ(reasons, std::vector<FinishReason>(20, FinishReason::kCancelled));
  EXPECT_EQ(late, "[executor] must not be shutting down to take a request");
}

TEST(Executor, AwaitHandsAResultOverOnce) {
  Executor executor(make_program());
  const RequestId id = executor.enqueue(make_request({1}, 2));
  executor.await(id);
  for (RequestId unknown : {id, RequestId{0}, RequestId{77}}) {
    try {
      executor.await(unknown);
      ADD_FAILURE() << "id " << unknown;
    } catch (const Error& e) {
      EXPECT_EQ(e.what(),
                "[await] id must be that of a request without on_finish that was not awaited yet, "
                "got " + std::to_string(unknown));
    }
  }
}

TEST(Executor, WithoutASeedAnswersDifferWithOneTheyDoNot) {
  Executor executor(make_program());
  Request request = make_request(prompt_that_goes_on_for(30), 30);
  request.sampling.temperature = 3.0;
  request.sampling.ignore_eos = true;
  const auto answer = [&] { return ids_of(executor.await(executor.enqueue(request))); };
  EXPECT_NE(answer(), answer());
  request.sampling.seed = 5;
  const Ids first = answer();
  EXPECT_EQ(answer(), first);
  Executor another(make_program());
  EXPECT_EQ(ids_of(another.await(another.enqueue(request))), first);
}

TEST(Executor, StatsCountStepsTokensAndTime) {
  Executor executor(make_program());
  for (int i = 0; i < 3; ++i) {
    Request request = make_request(random_prompt(4, 100), 10);
    request.sampling.ignore_eos = true;
    executor.await(executor.enqueue(request));
  }
  const RequestId last = executor.enqueue(make_request({1}, 0));
  executor.await(last);
  const ExecutorStats stats = executor.stats();
  EXPECT_EQ(stats.generated_tokens, 30);
  EXPECT_EQ(stats.prompt_tokens, 301);
  EXPECT_EQ(stats.steps, 3 * (2 + 9) + 1);  // two chunks, the second gives the first token
  EXPECT_EQ(stats.total_blocks, 256);
  EXPECT_GE(stats.host_us.size(), 33u);
  EXPECT_EQ(stats.host_us.size(), stats.sampling_us.size());
  for (float us : stats.host_us) EXPECT_GT(us, 0.0f);
}

}  // namespace
}  // namespace brayton
