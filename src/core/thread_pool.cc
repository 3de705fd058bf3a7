#include "core/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "core/check.h"

namespace brayton {
namespace {

constexpr int kSpins = 2000;  // some tens of microseconds

inline void pause_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

}  // namespace

// `ticket` holds the number of the region in its upper half and its next unclaimed piece in the
// lower. A claim is a compare-and-swap on both: it can only succeed in the region that is on, and
// that region cannot end before the claimed piece is done, so its task may be read after the claim.
struct ThreadPool::State {
  std::vector<std::thread> workers;
  alignas(64) std::atomic<uint64_t> ticket{0};
  alignas(64) std::atomic<int64_t> done{0};
  std::atomic<int64_t> pieces{0};
  std::atomic<Thunk> thunk{nullptr};
  std::atomic<const void*> task{nullptr};
  std::atomic<int> parked{0};
  std::atomic<bool> stop{false};
  std::mutex mutex;
  std::condition_variable wake;

  // Claims and does pieces of region `region` until none is left.
  void work(uint32_t region, int thread) {
    uint64_t seen = ticket.load(std::memory_order_acquire);
    while (static_cast<uint32_t>(seen >> 32) == region) {
      const auto piece = static_cast<int64_t>(seen & 0xffffffffu);
      if (piece >= pieces.load(std::memory_order_relaxed)) return;
      if (!ticket.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel)) continue;
      thunk.load(std::memory_order_relaxed)(task.load(std::memory_order_relaxed), piece, thread);
      done.fetch_add(1, std::memory_order_release);
      seen = ticket.load(std::memory_order_acquire);
    }
  }

  void loop(int thread) {
    uint32_t last = 0;
    for (;;) {
      uint32_t region = static_cast<uint32_t>(ticket.load(std::memory_order_acquire) >> 32);
      for (int spin = 0; region == last && spin < kSpins; ++spin) {
        pause_cpu();
        region = static_cast<uint32_t>(ticket.load(std::memory_order_acquire) >> 32);
      }
      if (region == last) {
        std::unique_lock lock(mutex);
        parked.fetch_add(1);
        wake.wait(lock, [&] {
          return stop.load() || static_cast<uint32_t>(ticket.load() >> 32) != last;
        });
        parked.fetch_sub(1);
        if (stop.load()) return;
        region = static_cast<uint32_t>(ticket.load(std::memory_order_acquire) >> 32);
      }
      if (stop.load(std::memory_order_relaxed)) return;
      last = region;
      work(region, thread);
    }
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  BRAYTON_CHECK_GE(threads, 1);
  for (int i = 1; i < threads; ++i)
    state_->workers.emplace_back([state = state_.get(), i] { state->loop(i); });
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stop = true;
  }
  state_->wake.notify_all();
  for (std::thread& worker : state_->workers) worker.join();
}

int ThreadPool::threads() const { return static_cast<int>(state_->workers.size()) + 1; }

void ThreadPool::run_erased(int64_t pieces, Thunk thunk, const void* task) {
  State& s = *state_;
  if (pieces <= 1 || s.workers.empty()) {
    for (int64_t piece = 0; piece < pieces; ++piece) thunk(task, piece, 0);
    return;
  }
  BRAYTON_CHECK_LT(pieces, int64_t{1} << 31);
  s.done.store(0, std::memory_order_relaxed);
  s.pieces.store(pieces, std::memory_order_relaxed);
  s.thunk.store(thunk, std::memory_order_relaxed);
  s.task.store(task, std::memory_order_relaxed);
  const uint32_t region = static_cast<uint32_t>(s.ticket.load(std::memory_order_relaxed) >> 32) + 1;
  s.ticket.store(uint64_t{region} << 32);
  if (s.parked.load() > 0) {
    const std::lock_guard lock(s.mutex);  // a worker between its test and its wait is not missed
    s.wake.notify_all();
  }
  s.work(region, 0);
  while (s.done.load(std::memory_order_acquire) < pieces) pause_cpu();
  // Close the region: a late worker must not claim with this ticket once the fields change.
  s.ticket.store(uint64_t{region} << 32 | 0xffffffffu);
}

int available_cores() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}

}  // namespace brayton
