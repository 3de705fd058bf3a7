// Fork-join threads for kernels that last microseconds.
#pragma once

#include <cstdint>
#include <memory>

namespace brayton {

// One caller at a time (the loop thread) gives out regions of work; the caller works too. A region
// is cut into pieces that threads claim one by one, and the caller waits only for pieces that
// somebody has claimed: a worker that the operating system keeps from running holds nobody up.
// Idle workers spin for some microseconds, then park.
class ThreadPool {
 public:
  explicit ThreadPool(int threads);  // in all, the caller included; at least 1
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;

  // Calls task(piece, thread) for every piece in [0, pieces), thread in [0, threads()); at most a
  // million pieces. A thread takes neighbouring pieces as long as it can.
  // Returns when all are done. Must not be nested. Tasks must not throw.
  template <class Task>
  void run(int64_t pieces, const Task& task) {
    run_erased(
        pieces,
        [](const void* t, int64_t piece, int thread) {
          (*static_cast<const Task*>(t))(piece, thread);
        },
        &task);
  }

 private:
  using Thunk = void (*)(const void* task, int64_t piece, int thread);
  void run_erased(int64_t pieces, Thunk thunk, const void* task);

  struct State;
  std::unique_ptr<State> state_;
};

// Cores this process may run on.
int available_cores();

}  // namespace brayton
