// How pieces are claimed: each thread has a slot with a contiguous share of the region's pieces,
// takes them in order from its own slot, then from the others'. So a thread streams through
// neighbouring memory, and cache lines travel between cores only when a region begins and ends.
//
// What a busy neighbour does to fork-join work, and what is done about it: a worker that the
// operating system suspends inside a piece holds the caller up for a time slice (some ms, a hundred
// regions of a decode step). That cannot be taken back, but not repeated: the caller notices when
// it waits much longer than a piece takes, and goes on without that worker for 5 ms, doubled up to
// 160 ms when it soon happens again. A worker that finds itself on the caller's core only takes
// time from it: unless it is soon moved it parks and is left out in the same way. Idle workers spin
// for 100 us, which covers the serial parts of a step, then park, so that a core that is not needed
// is seen to be idle and the caller can be moved there.
//
// benchmarks/bench_thread_pool.cc (2 threads on 2 cores, regions of 30 us): with a process that
// keeps one core busy, pinned to either core or free, 54 % of the quiet speed; one thread alone
// has 53 %.
#include "core/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "core/check.h"

namespace brayton {
namespace {

constexpr int64_t kSpinNs = 100'000;
constexpr int64_t kPatienceNs = 200'000;  // a wait for others' pieces that is nobody's fault
constexpr int64_t kPatiencePieces = 4;    // or as long as so many pieces take
constexpr int64_t kFirstLeaveNs = 5'000'000;
constexpr int64_t kLongestLeaveNs = 160'000'000;
constexpr int64_t kTrialNs = 20'000'000;  // a fault so soon after a leave doubles the next one
constexpr int kPausesPerLook = 32;        // between readings of the clock
// What a worker that is woken on the caller's core does: sleeps so often for so long, and is moved.
constexpr int kMoves = 8;
constexpr std::chrono::microseconds kMoveTime(50);

inline void pause_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// A slot's state in one word, so that a claim is one compare-and-swap: the number of the region,
// the next piece, and the piece after the last one.
constexpr int kPieceBits = 20;
constexpr uint64_t kPieceMask = (uint64_t{1} << kPieceBits) - 1;
constexpr int64_t kMostPieces = kPieceMask;

uint64_t ticket_of(uint64_t region, int64_t next, int64_t end) {
  return region << (2 * kPieceBits) | static_cast<uint64_t>(next) << kPieceBits |
         static_cast<uint64_t>(end);
}
uint64_t region_of(uint64_t ticket) { return ticket >> (2 * kPieceBits); }
int64_t next_of(uint64_t ticket) { return static_cast<int64_t>(ticket >> kPieceBits & kPieceMask); }
int64_t end_of(uint64_t ticket) { return static_cast<int64_t>(ticket & kPieceMask); }
constexpr uint64_t kClaim = uint64_t{1} << kPieceBits;
constexpr uint64_t kRegionMask = ~uint64_t{0} >> (2 * kPieceBits);

}  // namespace

struct ThreadPool::State {
  // Whoever claims a piece of a slot reads the task there: the region cannot end, and the slot not
  // change, before that piece is done.
  struct alignas(64) Slot {
    std::atomic<uint64_t> ticket{0};
    std::atomic<Thunk> thunk{nullptr};
    std::atomic<const void*> task{nullptr};
    std::atomic<int> caller_cpu{-1};
  };
  struct alignas(64) Worker {
    // Written by the worker.
    std::atomic<uint64_t> done{0};  // pieces since the start
    std::atomic<bool> busy{false};  // in a region
    std::atomic<bool> parked{false};
    std::atomic<bool> collided{false};  // parked because it shared the caller's core
    // Written by the caller.
    alignas(64) std::atomic<uint32_t> gate{0};  // a parked worker waits for it to change
    std::atomic<bool> on_leave{false};          // gets no pieces and may not take any
    int64_t leave_ends = 0;
    int64_t leave_ns = 0;
    std::thread thread;
  };

  std::vector<Slot> slots;  // of each thread, the caller's first
  std::vector<std::unique_ptr<Worker>> workers;
  std::atomic<bool> stop{false};
  // The caller's.
  uint64_t region = 0;
  int leaves = 0;  // workers on leave

  explicit State(int threads) : slots(static_cast<size_t>(threads)) {}

  // Claims and does pieces of one slot while the region is `number`; the number of pieces done.
  template <class OnDone>
  int64_t work_off(Slot& slot, uint64_t number, int thread, const OnDone& on_done) {
    int64_t count = 0;
    uint64_t seen = slot.ticket.load(std::memory_order_acquire);
    while (region_of(seen) == number && next_of(seen) < end_of(seen)) {
      if (!slot.ticket.compare_exchange_weak(seen, seen + kClaim, std::memory_order_acq_rel))
        continue;
      slot.thunk.load(std::memory_order_relaxed)(slot.task.load(std::memory_order_relaxed),
                                                 next_of(seen), thread);
      ++count;
      on_done();
      seen = slot.ticket.load(std::memory_order_acquire);
    }
    return count;
  }

  // The same with all slots, `thread`'s own first.
  template <class OnDone>
  int64_t work(uint64_t number, int thread, const OnDone& on_done) {
    const auto size = static_cast<int>(slots.size());
    int64_t count = 0;
    for (int i = 0; i < size; ++i)
      count += work_off(slots[static_cast<size_t>((thread + i) % size)], number, thread, on_done);
    return count;
  }

  // --- A worker's side. `slot` is its own. ---

  static uint64_t region_at(const Slot& slot) { return region_of(slot.ticket.load()); }
  static bool on_callers_core(const Slot& slot) {
    return sched_getcpu() == slot.caller_cpu.load(std::memory_order_relaxed);
  }
  bool has_news(const Worker& self, const Slot& slot, uint64_t last) const {
    return stop.load() || (region_at(slot) != last && !self.on_leave.load());
  }

  // Until there is a region after `last` for this worker, or the end.
  void await_region(Worker& self, const Slot& slot, uint64_t last) {
    int64_t begin = 0;
    while (!has_news(self, slot, last)) {
      for (int i = 0; i < kPausesPerLook && region_at(slot) == last; ++i) pause_cpu();
      if (has_news(self, slot, last)) return;
      const int64_t now = now_ns();
      if (begin == 0) begin = now;
      if (on_callers_core(slot)) {
        self.collided.store(true, std::memory_order_relaxed);
      } else if (now - begin < kSpinNs && !self.on_leave.load(std::memory_order_relaxed)) {
        continue;
      }
      park(self, slot, last);
    }
  }

  void park(Worker& self, const Slot& slot, uint64_t last) {
    const uint32_t closed = self.gate.load();
    self.parked.store(true);  // before the last look: the caller looks the other way round
    if (!has_news(self, slot, last)) self.gate.wait(closed);
    self.parked.store(false);
  }

  void loop(Worker& self, int thread) {
    const Slot& slot = slots[static_cast<size_t>(thread)];
    uint64_t last = 0;
    for (;;) {
      await_region(self, slot, last);
      if (stop.load(std::memory_order_relaxed)) return;
      last = region_at(slot);
      for (int i = 0; i < kMoves && on_callers_core(slot) && region_at(slot) == last; ++i)
        std::this_thread::sleep_for(kMoveTime);
      if (region_at(slot) != last) {
        self.collided.store(true, std::memory_order_relaxed);
        park(self, slot, region_at(slot));
        continue;
      }
      self.busy.store(true, std::memory_order_relaxed);
      uint64_t done = self.done.load(std::memory_order_relaxed);
      work(last, thread, [&] { self.done.store(++done, std::memory_order_release); });
      self.busy.store(false, std::memory_order_relaxed);
    }
  }

  // --- The caller's side ---

  void open_gate(Worker& worker) {
    worker.gate.fetch_add(1);
    worker.gate.notify_one();
  }

  void send_on_leave(Worker& worker, int64_t now) {
    if (worker.on_leave.load(std::memory_order_relaxed)) return;
    const bool again = worker.leave_ns > 0 && now < worker.leave_ends + kTrialNs;
    worker.leave_ns = again ? std::min(2 * worker.leave_ns, kLongestLeaveNs) : kFirstLeaveNs;
    worker.leave_ends = now + worker.leave_ns;
    worker.on_leave.store(true);
    ++leaves;
  }

  void end_leaves() {
    const int64_t now = now_ns();
    for (const auto& worker : workers)
      if (worker->on_leave.load(std::memory_order_relaxed) && now >= worker->leave_ends) {
        worker->on_leave.store(false);
        worker->collided.store(false, std::memory_order_relaxed);
        --leaves;
      }
  }

  void wake_workers() {
    for (const auto& worker : workers) {
      if (!worker->parked.load() || worker->on_leave.load(std::memory_order_relaxed)) continue;
      if (worker->collided.exchange(false)) {
        send_on_leave(*worker, now_ns());
      } else {
        open_gate(*worker);
      }
    }
  }

  // Gives the pieces to the slots of the caller and of the workers that are not on leave.
  void open_region(int64_t pieces, Thunk thunk, const void* task) {
    region = (region + 1) & kRegionMask;
    const int cpu = sched_getcpu();
    const auto sharers = static_cast<int64_t>(slots.size()) - leaves;
    int64_t sharer = 0;
    for (size_t i = 0; i < slots.size(); ++i) {
      Slot& slot = slots[i];
      int64_t begin = 0, end = 0;
      if (i == 0 || !workers[i - 1]->on_leave.load(std::memory_order_relaxed)) {
        begin = pieces * sharer / sharers;
        end = pieces * ++sharer / sharers;
      }
      slot.thunk.store(thunk, std::memory_order_relaxed);
      slot.task.store(task, std::memory_order_relaxed);
      slot.caller_cpu.store(cpu, std::memory_order_relaxed);
      slot.ticket.store(ticket_of(region, begin, end));
    }
    wake_workers();
  }

  uint64_t done_by_workers() const {
    uint64_t sum = 0;
    for (const auto& worker : workers) sum += worker->done.load(std::memory_order_acquire);
    return sum;
  }

  // Waits until the workers have done `count` pieces since the start; when that takes longer than
  // `limit_ns`, those that are still at work go on leave.
  void await_workers(uint64_t count, int64_t limit_ns) {
    const int64_t begin = now_ns();
    while (done_by_workers() != count) {
      for (int i = 0; i < kPausesPerLook && done_by_workers() != count; ++i) pause_cpu();
      const int64_t now = now_ns();
      if (now - begin < limit_ns || done_by_workers() == count) continue;
      for (const auto& worker : workers)
        if (worker->busy.load(std::memory_order_relaxed)) send_on_leave(*worker, now);
      std::this_thread::yield();  // the one that is waited for may need this core
    }
    if (now_ns() - begin >= limit_ns) begin_leaves(begin);
  }

  // Leaves that were given at `since` or later count from now.
  void begin_leaves(int64_t since) {
    const int64_t now = now_ns();
    for (const auto& worker : workers)
      if (worker->on_leave.load(std::memory_order_relaxed) &&
          worker->leave_ends - worker->leave_ns >= since)
        worker->leave_ends = now + worker->leave_ns;
  }
};

ThreadPool::ThreadPool(int threads) {
  BRAYTON_CHECK_GE(threads, 1);
  state_ = std::make_unique<State>(threads);
  for (int i = 1; i < threads; ++i) state_->workers.push_back(std::make_unique<State::Worker>());
  for (int i = 1; i < threads; ++i) {
    State::Worker& worker = *state_->workers[static_cast<size_t>(i - 1)];
    worker.thread = std::thread([state = state_.get(), &worker, i] { state->loop(worker, i); });
  }
}

ThreadPool::~ThreadPool() {
  state_->stop = true;
  for (const auto& worker : state_->workers) state_->open_gate(*worker);
  for (const auto& worker : state_->workers) worker->thread.join();
}

int ThreadPool::threads() const { return static_cast<int>(state_->slots.size()); }

void ThreadPool::run_erased(int64_t pieces, Thunk thunk, const void* task) {
  State& s = *state_;
  if (s.leaves > 0) s.end_leaves();
  if (pieces <= 1 || s.leaves == static_cast<int>(s.workers.size())) {
    for (int64_t piece = 0; piece < pieces; ++piece) thunk(task, piece, 0);
    return;
  }
  BRAYTON_CHECK_LE(pieces, kMostPieces);
  const uint64_t before = s.done_by_workers();
  const int64_t begin = now_ns();
  s.open_region(pieces, thunk, task);
  const int64_t own = s.work(s.region, 0, [] {});
  const uint64_t after = before + static_cast<uint64_t>(pieces - own);
  if (s.done_by_workers() == after) return;
  const int64_t piece_ns = (now_ns() - begin) / std::max<int64_t>(own, 1);
  s.await_workers(after, std::max(kPatienceNs, kPatiencePieces * piece_ns));
}

int available_cores() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}

}  // namespace brayton
