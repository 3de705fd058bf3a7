// One request's tokens on their way from the loop thread to the caller.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <vector>

#include "brayton/executor.h"

namespace brayton {

class TokenQueue {
 public:
  using Clock = std::chrono::steady_clock;

  // Both on the loop thread; they only take a lock that is held for a few instructions.
  void push(const TokenOutput& token) {
    const std::lock_guard lock(mutex_);
    const auto now = Clock::now();
    if (!first_) first_ = now;
    last_ = now;
    tokens_.push_back(token);
    ready_.notify_one();
  }
  void finish(const RequestResult& result) {
    const std::lock_guard lock(mutex_);
    result_ = result;
    ready_.notify_one();
  }

  // On the caller's thread: waits for tokens or the end, and moves the tokens over. False when the
  // request has ended and nothing is left.
  bool pop(std::vector<TokenOutput>& tokens) {
    std::unique_lock lock(mutex_);
    ready_.wait(lock, [&] { return !tokens_.empty() || result_; });
    tokens.assign(std::make_move_iterator(tokens_.begin()), std::make_move_iterator(tokens_.end()));
    tokens_.clear();
    return !tokens.empty() || !result_;
  }
  RequestResult wait_for_result() {
    std::unique_lock lock(mutex_);
    ready_.wait(lock, [&] { return result_.has_value(); });
    return *result_;
  }
  std::optional<Clock::time_point> first_token_time() const { return first_; }
  Clock::time_point last_token_time() const { return last_; }

 private:
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<TokenOutput> tokens_;
  std::optional<RequestResult> result_;
  std::optional<Clock::time_point> first_;
  Clock::time_point last_;
};

}  // namespace brayton
