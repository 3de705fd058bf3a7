// What the executor's tests share: requests whose answers are known, and a gate for the loop.
#pragma once

#include <gtest/gtest.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <random>

#include "brayton/error.h"
#include "brayton/executor.h"
#include "testing/fake_program.h"

namespace brayton {

using Ids = std::vector<int32_t>;

inline ProgramOptions default_options() {
  return {.max_tokens = 64,
          .max_sequences = 8,
          .max_logit_rows = 16,
          .kv_block_size = 4,
          .kv_blocks = 256};
}

inline std::shared_ptr<FakeProgram> make_program(
    const ProgramOptions& options = default_options()) {
  return std::make_shared<FakeProgram>(options);
}

inline Ids random_prompt(uint64_t seed, size_t length) {
  std::mt19937_64 random(seed);
  Ids prompt(length);
  for (int32_t& id : prompt) id = static_cast<int32_t>(random() % (FakeProgram::kVocab - 1));
  return prompt;
}

inline Request make_request(Ids prompt, int64_t max_tokens) {
  Request request;
  request.prompt = std::move(prompt);
  request.sampling.max_tokens = max_tokens;
  return request;
}

inline Ids ids_of(const RequestResult& result) {
  Ids ids;
  for (const TokenOutput& token : result.tokens) ids.push_back(token.token);
  return ids;
}

// A prompt whose greedy answer has `length` tokens, the last of them eos.
inline Ids prompt_that_ends_after(size_t length) {
  for (uint64_t seed = 0;; ++seed) {
    const Ids prompt = random_prompt(seed, 5);
    const Ids answer = FakeProgram::greedy_answer(prompt, 200);
    if (answer.size() == length && answer.back() == FakeProgram::kEos) return prompt;
  }
}
// One whose answer has no eos among the first `length` tokens.
inline Ids prompt_that_goes_on_for(size_t length, uint64_t seed = 0) {
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

inline void expect_idle(const Executor& executor) {
  const ExecutorStats stats = executor.stats();
  EXPECT_EQ(stats.waiting, 0);
  EXPECT_EQ(stats.running, 0);
  EXPECT_EQ(stats.used_blocks, 0);
}

inline std::string enqueue_error(Executor& executor, const Request& request,
                                 ErrorCode code = ErrorCode::kInvalidArgument) {
  try {
    executor.enqueue(request);
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), code);
    return e.what();
  }
  return "accepted";
}

}  // namespace brayton
