// Clients, cancels and faults at random: answers stay those of the model alone, every request ends
// exactly once, and every block comes home.
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>

#include "brayton/executor.h"
#include "testing/executor_requests.h"

namespace brayton {
namespace {

ProgramOptions small_options() {
  return {.max_tokens = 48,
          .max_sequences = 32,
          .max_logit_rows = 40,
          .kv_block_size = 4,
          .kv_blocks = 300};
}

Request random_request(std::mt19937_64& random) {
  Request request;
  request.prompt.resize(1 + random() % 60);
  for (int32_t& id : request.prompt) id = static_cast<int32_t>(random() % FakeProgram::kVocab);
  SamplingParams& sampling = request.sampling;
  sampling.max_tokens = static_cast<int64_t>(random() % 40);
  sampling.seed = random();
  if (random() % 2 == 0) sampling.temperature = 0.5 + 0.01 * static_cast<double>(random() % 100);
  if (random() % 3 == 0) sampling.top_p = 0.9;
  if (random() % 3 == 0) sampling.top_k = 20;
  if (random() % 4 == 0) sampling.repetition_penalty = 1.2;
  if (random() % 4 == 0) sampling.logprobs = 2;
  request.prompt_logprobs = random() % 5 == 0;
  return request;
}

// With one step under way at a time, and with two.
class ExecutorStress : public testing::TestWithParam<int64_t> {};
INSTANTIATE_TEST_SUITE_P(Depth, ExecutorStress, testing::Values(1, 2));

TEST_P(ExecutorStress, ARequestIsTheSameAloneAndAmidThirtyOneOthers) {
  const uint64_t seed = 17;
  std::mt19937_64 random(seed);
  for (int round = 0; round < 8; ++round) {
    Request request = random_request(random);
    request.sampling.max_tokens = 60;
    request.sampling.ignore_eos = true;
    request.sampling.logprobs = 3;
    RequestResult alone;
    {
      Executor executor(std::make_shared<FakeProgram>(small_options()), {.depth = GetParam()});
      alone = executor.await(executor.enqueue(request));
    }
    Executor executor(std::make_shared<FakeProgram>(small_options()), {.depth = GetParam()});
    std::vector<RequestId> others;
    for (int i = 0; i < 15; ++i) others.push_back(executor.enqueue(random_request(random)));
    const uint64_t shuffle = random();
    // The other sixteen join while it runs; some leave early.
    RequestCallbacks callbacks;
    callbacks.on_token = [&, count = 0](const TokenOutput&) mutable {
      std::mt19937_64 inner(shuffle + static_cast<uint64_t>(count));
      if (++count <= 16) others.push_back(executor.enqueue(random_request(inner)));
      if (count % 7 == 0) executor.cancel(others[inner() % others.size()]);
      return true;
    };
    const RequestResult amid = executor.await(executor.enqueue(request, callbacks));
    ASSERT_EQ(amid.finish_reason, FinishReason::kLength);
    EXPECT_EQ(ids_of(amid), ids_of(alone)) << "seed " << seed << " round " << round;
    for (size_t i = 0; i < alone.tokens.size(); ++i)
      EXPECT_EQ(amid.tokens[i].logprob, alone.tokens[i].logprob);
    EXPECT_EQ(amid.prompt_logprobs, alone.prompt_logprobs);
    ASSERT_EQ(others.size(), 31u);
    for (RequestId id : others) executor.await(id);
    expect_idle(executor);
  }
}

// What a client saw of one request.
struct Record {
  Request request;
  std::atomic<int> finishes = 0;
  Ids streamed;
  FinishReason reason = FinishReason::kNone;
  Ids tokens;
};

TEST_P(ExecutorStress, SeveralClientsCancelsAndFaults) {
  constexpr int kClients = 4, kRequests = 150;
  const uint64_t seed = 4242;
  auto program = std::make_shared<FakeProgram>(small_options());
  std::mt19937_64 faults(seed);
  program->before_run = [&](const StepInputs&) {
    if (faults() % 60 == 0) throw std::runtime_error("injected");
  };
  std::vector<std::vector<Record>> records;
  for (int c = 0; c < kClients; ++c) records.emplace_back(kRequests);
  {
    Executor executor(program, {.max_queue_size = 64, .depth = GetParam()});
    std::vector<std::thread> clients;
    for (int c = 0; c < kClients; ++c)
      clients.emplace_back([&, c] {
        std::mt19937_64 random(seed + 1 + static_cast<uint64_t>(c));
        RequestId newest = 0;
        for (Record& record : records[static_cast<size_t>(c)]) {
          record.request = random_request(random);
          RequestCallbacks callbacks;
          callbacks.on_token = [&record](const TokenOutput& token) {
            record.streamed.push_back(token.token);
            return true;
          };
          callbacks.on_finish = [&record](const RequestResult& result) {
            record.reason = result.finish_reason;
            record.tokens = ids_of(result);
            record.finishes.fetch_add(1);
          };
          while (true) {
            try {
              newest = executor.enqueue(record.request, callbacks);
              break;
            } catch (const Error& e) {
              ASSERT_EQ(e.code(), ErrorCode::kResourceExhausted) << e.what();
              std::this_thread::yield();
            }
          }
          if (random() % 5 == 0) executor.cancel(newest - random() % 8);
          executor.stats();
        }
      });
    for (std::thread& client : clients) client.join();
    // Half of them run to their ends, the destructor cancels the rest.
    for (int i = 0; i < kRequests / 2; ++i)
      while (records[0][static_cast<size_t>(i)].finishes.load() == 0) std::this_thread::yield();
  }

  int complete = 0;
  Executor judge(std::make_shared<FakeProgram>(small_options()));
  for (auto& of_client : records) {
    for (Record& record : of_client) {
      ASSERT_EQ(record.finishes.load(), 1) << "seed " << seed;
      ASSERT_EQ(record.streamed, record.tokens) << "seed " << seed;
      ASSERT_NE(record.reason, FinishReason::kNone);
      // What was delivered is the beginning of the answer given alone; all of it when it ended by
      // itself.
      const Ids alone = ids_of(judge.await(judge.enqueue(record.request)));
      ASSERT_LE(record.tokens.size(), alone.size());
      ASSERT_TRUE(std::equal(record.tokens.begin(), record.tokens.end(), alone.begin()))
          << "seed " << seed;
      if (record.reason != FinishReason::kCancelled && record.reason != FinishReason::kError) {
        ASSERT_EQ(record.tokens.size(), alone.size());
        ++complete;
      }
    }
  }
  EXPECT_GT(complete, kClients * kRequests / 10);
  expect_idle(judge);
}

}  // namespace
}  // namespace brayton
