// A request gets the answer that the model alone would give, streamed, counted and ended once.
#include "brayton/executor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <future>
#include <limits>

#include "testing/executor_requests.h"

namespace brayton {
namespace {

// With one step under way at a time, and with two.
class ExecutorTest : public testing::TestWithParam<int64_t> {};
INSTANTIATE_TEST_SUITE_P(Depth, ExecutorTest, testing::Values(1, 2));

TEST_P(ExecutorTest, AnswersAsTheModelAloneWould) {
  Executor executor(make_program(), {.depth = GetParam()});
  std::vector<RequestId> ids;
  for (uint64_t i = 0; i < 20; ++i)
    ids.push_back(executor.enqueue(make_request(random_prompt(i, 1 + 7 * i), 30)));
  for (uint64_t i = 0; i < 20; ++i) {
    const RequestResult result = executor.await(ids[i]);
    const Ids expected = FakeProgram::greedy_answer(random_prompt(i, 1 + 7 * i), 30);
    EXPECT_EQ(ids_of(result), expected) << i;
    EXPECT_EQ(result.id, ids[i]);
    EXPECT_EQ(result.finish_reason,
              expected.back() == FakeProgram::kEos ? FinishReason::kEos : FinishReason::kLength);
    EXPECT_GE(result.first_token_ms, result.queue_ms);
    EXPECT_GE(result.total_ms, result.first_token_ms);
  }
  expect_idle(executor);
}

TEST_P(ExecutorTest, EndsByEosStopIdOrLength) {
  Executor executor(make_program(), {.depth = GetParam()});
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

TEST_P(ExecutorTest, ChunkedPrefillEqualsWhole) {
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

TEST_P(ExecutorTest, PromptLogprobsAndLogitsAreTheModels) {
  Executor executor(make_program(), {.depth = GetParam()});
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

TEST_P(ExecutorTest, StreamsEveryTokenThenFinishesOnce) {
  Executor executor(make_program(), {.depth = GetParam()});
  const Ids prompt = prompt_that_ends_after(12);
  Ids streamed;
  int finishes = 0;
  std::promise<RequestResult> finished;
  executor.enqueue(make_request(prompt, 50), {[&](const TokenOutput& token) {
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

TEST_P(ExecutorTest, CallbacksMayEnqueueAndCancelButNotAwait) {
  auto program = make_program();
  Gate gate;
  program->before_run = [&](const StepInputs&) { gate.pass(); };
  Executor executor(program, {.depth = GetParam()});
  const Ids prompt = prompt_that_goes_on_for(20);
  std::promise<RequestId> follower;
  std::string await_error;
  const RequestId victim = executor.enqueue(make_request(prompt_that_goes_on_for(50), 50));
  executor.enqueue(make_request(prompt, 3),
                   {[&](const TokenOutput&) {
                      executor.cancel(victim);
                      return true;
                    },
                    [&](const RequestResult& result) {
                      try {
                        executor.await(result.id);
                      } catch (const Error& e) {
                        await_error = e.what();
                      }
                      follower.set_value(executor.enqueue(make_request(prompt, 4)));
                    }});
  gate.open();
  EXPECT_EQ(executor.await(follower.get_future().get()).tokens.size(), 4u);
  EXPECT_EQ(executor.await(victim).finish_reason, FinishReason::kCancelled);
  EXPECT_EQ(await_error,
            "[await] must not be called from a callback: the loop would wait for itself");
}

TEST_P(ExecutorTest, TheAnswerEndsWhereThePositionsOrTheCacheEnd) {
  ProgramOptions options = default_options();
  for (int64_t blocks : {256, 10}) {
    options.kv_blocks = blocks;
    const int64_t capacity = std::min<int64_t>(512, blocks * 4);
    Executor executor(make_program(options), {.depth = GetParam()});
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

TEST_P(ExecutorTest, WithoutASeedAnswersDifferWithOneTheyDoNot) {
  Executor executor(make_program(), {.depth = GetParam()});
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

TEST_P(ExecutorTest, StatsCountStepsTokensAndTime) {
  Executor executor(make_program(), {.depth = GetParam()});
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
