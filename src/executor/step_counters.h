// What the loop counts and any thread may read; no locks.
#pragma once

#include <atomic>
#include <memory>

#include "brayton/executor.h"

namespace brayton {

// Microseconds of the last steps: written by the loop, read by anyone.
class StepTimes {
 public:
  static constexpr int64_t kKept = 4096;

  void add(double microseconds) {
    const int64_t at = count_.load(std::memory_order_relaxed);
    times_[at % kKept].store(static_cast<float>(microseconds), std::memory_order_relaxed);
    count_.store(at + 1, std::memory_order_release);
  }
  std::vector<float> snapshot() const {
    const int64_t end = count_.load(std::memory_order_acquire);
    std::vector<float> times;
    for (int64_t i = std::max<int64_t>(0, end - kKept); i < end; ++i)
      times.push_back(times_[i % kKept].load(std::memory_order_relaxed));
    return times;
  }

 private:
  std::unique_ptr<std::atomic<float>[]> times_ = std::make_unique<std::atomic<float>[]>(kKept);
  std::atomic<int64_t> count_ = 0;
};

struct StepCounters {
  std::atomic<int64_t> steps = 0;
  std::atomic<int64_t> generated_tokens = 0;
  std::atomic<int64_t> prompt_tokens = 0;
  std::atomic<int64_t> waiting = 0;  // raised by enqueue, lowered by the loop
  std::atomic<int64_t> running = 0;
  std::atomic<int64_t> used_blocks = 0;
  StepTimes host;
  StepTimes sampling;
};

}  // namespace brayton
