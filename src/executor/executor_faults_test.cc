// What goes wrong with one request, one step or one client leaves the others alone.
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <future>
#include <thread>

#include "brayton/executor.h"
#include "testing/executor_requests.h"

namespace brayton {
namespace {

// With one step under way at a time, and with two.
class ExecutorFaults : public testing::TestWithParam<int64_t> {};
INSTANTIATE_TEST_SUITE_P(Depth, ExecutorFaults, testing::Values(1, 2));

TEST_P(ExecutorFaults, ACallbackCancelsOrBreaksItsOwnRequestOnly) {
  Executor executor(make_program(), {.depth = GetParam()});
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

TEST_P(ExecutorFaults, CancelsWhatWaitsAndWhatRuns) {
  ProgramOptions options = default_options();
  options.max_sequences = 1;
  auto program = make_program(options);
  Gate gate;
  program->before_run = [&](const StepInputs& in) {
    if (in.positions[0] > 0) gate.pass();  // the first decode step
  };
  Executor executor(program, {.depth = GetParam()});
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
  EXPECT_EQ(result.tokens.size(), 3u - GetParam());  // of a step under way: lost
  result = executor.await(waiting);
  EXPECT_EQ(result.finish_reason, FinishReason::kCancelled);
  EXPECT_TRUE(result.tokens.empty());
  EXPECT_EQ(executor.await(next).tokens.size(), 5u);
  executor.cancel(next);  // it has ended
  expect_idle(executor);
}

// A step whose logits never come leaves no tokens behind for the steps after it.
TEST_P(ExecutorFaults, LogitsThatNeverComeDoNotShiftLaterAnswers) {
  class Failing : public FakeProgram {
   public:
    using FakeProgram::FakeProgram;
    TensorView host_logits() override {
      if (steps == 3 && armed.exchange(false))
        throw Error(ErrorCode::kEnvironment, "[cuda] the copy failed");
      return FakeProgram::host_logits();
    }
    std::atomic<bool> armed = true;
  };
  Executor executor(std::make_shared<Failing>(default_options()), {.depth = GetParam()});
  const Ids prompt = prompt_that_goes_on_for(20);
  const RequestResult failed = executor.await(executor.enqueue(make_request(prompt, 20)));
  EXPECT_EQ(failed.error, "[cuda] the copy failed");
  for (int again = 0; again < 2; ++again)
    EXPECT_EQ(ids_of(executor.await(executor.enqueue(make_request(prompt, 20)))),
              FakeProgram::greedy_answer(prompt, 20));
  expect_idle(executor);
}

TEST_P(ExecutorFaults, AFaultOfAStepEndsItsRequestsAndTheLoopGoesOn) {
  for (const bool standard : {true, false}) {
    auto program = make_program();
    std::atomic<bool> armed = true;
    program->before_run = [&](const StepInputs& in) {
      if (in.kv_lengths[0] == 8 && armed.exchange(false)) {
        if (standard) throw Error(ErrorCode::kEnvironment, "[cuda] the device is lost");
        throw 42;
      }
    };
    Executor executor(program, {.depth = GetParam()});
    const Ids prompt = prompt_that_goes_on_for(20);
    const RequestResult failed = executor.await(executor.enqueue(make_request(prompt, 20)));
    EXPECT_EQ(failed.finish_reason, FinishReason::kError);
    EXPECT_EQ(failed.error,
              standard ? "[cuda] the device is lost" : "an exception that is no std::exception");
    EXPECT_EQ(failed.tokens.size(), 4u - GetParam());  // those of a step under way are lost
    const RequestResult sound = executor.await(executor.enqueue(make_request(prompt, 20)));
    EXPECT_EQ(ids_of(sound), FakeProgram::greedy_answer(prompt, 20));
    expect_idle(executor);
  }
}

TEST_P(ExecutorFaults, BrokenLogitsEndTheirOwnRequestOnly) {
  auto program = make_program();
  constexpr int32_t kMark = 95;  // a prompt of this token gets NaN
  program->after_run = [](const StepInputs& in, std::vector<float>& logits) {
    for (int64_t r = 0; r < in.rows(); ++r)
      if (in.token_ids[in.logit_rows[r]] == kMark)
        logits[r * FakeProgram::kVocab + 5] = std::nanf("");
  };
  Executor executor(program, {.depth = GetParam()});
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

TEST_P(ExecutorFaults, TheQueueHasALimit) {
  ProgramOptions options = default_options();
  options.max_sequences = 1;
  auto program = make_program(options);
  Gate gate;
  program->before_run = [&](const StepInputs&) { gate.pass(); };
  Executor executor(program, {.max_queue_size = 2, .depth = GetParam()});
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

TEST_P(ExecutorFaults, BadRequestsAreRefusedAtOnce) {
  Executor executor(make_program(), {.depth = GetParam()});
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

TEST_P(ExecutorFaults, TheDestructorCancelsAndEveryoneHearsOnce) {
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

TEST_P(ExecutorFaults, AwaitHandsAResultOverOnce) {
  Executor executor(make_program(), {.depth = GetParam()});
  const RequestId id = executor.enqueue(make_request({1}, 2));
  executor.await(id);
  for (RequestId unknown : {id, RequestId{0}, RequestId{77}}) {
    try {
      executor.await(unknown);
      ADD_FAILURE() << "id " << unknown;
    } catch (const Error& e) {
      EXPECT_EQ(e.what(),
                "[await] id must be that of a request without on_finish that was not awaited yet, "
                "got " +
                    std::to_string(unknown));
    }
  }
}

}  // namespace
}  // namespace brayton
