// Every piece of every region is done exactly once and before run() returns, however many threads
// there are and however few cores; idle workers cost nothing.
#include "core/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <random>
#include <thread>
#include <vector>

#include "brayton/error.h"

namespace brayton {
namespace {

using std::chrono::milliseconds;

double process_cpu_seconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// Some hundred nanoseconds, so that workers get their share.
void spin(unsigned rounds) {
  for (std::atomic<unsigned> i{0}; i.load(std::memory_order_relaxed) < rounds;
       i.fetch_add(1, std::memory_order_relaxed)) {
  }
}

// Runs regions of random sizes; counts are plain ints, so that a missed synchronisation is a race
// for ThreadSanitizer and a wrong count elsewhere.
void check_regions(int threads, int regions, int max_pieces, unsigned seed,
                   std::atomic<int64_t>& by_workers) {
  ThreadPool pool(threads);
  ASSERT_EQ(pool.threads(), threads);
  std::mt19937 random(seed);
  std::vector<int> counts(max_pieces);
  std::atomic<int> bad_thread{0};
  for (int region = 0; region < regions; ++region) {
    const auto pieces = static_cast<int64_t>(random() % (max_pieces + 1));
    const unsigned work = random() % 200;
    pool.run(pieces, [&](int64_t piece, int thread) {
      if (thread < 0 || thread >= threads) bad_thread = thread;
      if (thread > 0) by_workers.fetch_add(1, std::memory_order_relaxed);
      spin(work);
      ++counts[piece];
    });
    for (int piece = 0; piece < max_pieces; ++piece) {
      ASSERT_EQ(counts[piece], piece < pieces ? 1 : 0)
          << "seed " << seed << " threads " << threads << " region " << region << " piece " << piece
          << " of " << pieces;
      counts[piece] = 0;
    }
  }
  EXPECT_EQ(bad_thread, 0);
}

TEST(ThreadPoolTest, EveryPieceExactlyOnce) {
  std::atomic<int64_t> by_workers{0};
  check_regions(1, 25'000, 12, 1, by_workers);
  EXPECT_EQ(by_workers, 0);
  for (int threads = 2; threads <= 4; ++threads)
    check_regions(threads, 25'000, 12, threads, by_workers);
  RecordProperty("pieces_by_workers", std::to_string(by_workers));  // none on a busy machine
}

TEST(ThreadPoolTest, OversubscribedCores) {
  std::atomic<int64_t> by_workers{0};
  check_regions(4 * available_cores(), 2'000, 100, 5, by_workers);
}

TEST(ThreadPoolTest, TwoPoolsDoNotDisturbEachOther) {
  std::atomic<int64_t> by_workers{0};
  std::thread other([&] { check_regions(2, 5'000, 8, 6, by_workers); });
  check_regions(2, 5'000, 8, 7, by_workers);
  other.join();
}

TEST(ThreadPoolTest, WorkersWakeAfterALongPause) {
  ThreadPool pool(3);
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> done{0};
    pool.run(50, [&](int64_t, int) { ++done; });
    ASSERT_EQ(done, 50);
    std::this_thread::sleep_for(milliseconds(round % 3));
  }
}

TEST(ThreadPoolTest, ASlowWorkerLeavesTheOtherPiecesToTheCaller) {
  ThreadPool pool(2);
  for (int attempt = 0; attempt < 50; ++attempt) {  // until the worker gets a piece at all
    std::atomic<int> by_worker{0};
    pool.run(1000, [&](int64_t, int thread) {
      if (thread == 0) {
        std::this_thread::sleep_for(std::chrono::microseconds(1));
      } else {
        ++by_worker;
        std::this_thread::sleep_for(milliseconds(200));
      }
    });
    if (by_worker == 0) continue;
    EXPECT_LT(by_worker, 500);
    return;
  }
  FAIL() << "the worker never took part";
}

// Once a worker has held a region up, the next ones go on without it; later it takes part again.
TEST(ThreadPoolTest, AWorkerThatHeldUpTheCallerGetsALeave) {
  ThreadPool pool(2);
  const auto worker_takes_part = [&](milliseconds its_time) {  // in one of many regions
    for (int attempt = 0; attempt < 1000; ++attempt) {
      std::atomic<bool> taken{false};
      pool.run(2, [&](int64_t, int thread) {
        std::this_thread::sleep_for(thread == 0 ? milliseconds(1) : its_time);
        if (thread != 0) taken = true;
      });
      if (taken) return true;
    }
    return false;
  };
  ASSERT_TRUE(worker_takes_part(milliseconds(200)));  // the caller has waited for it
  const auto begin = std::chrono::steady_clock::now();
  for (;;) {
    std::atomic<int> by_worker{0};
    pool.run(8, [&](int64_t, int thread) { by_worker += thread; });
    if (std::chrono::steady_clock::now() - begin > milliseconds(3)) break;  // of the leave's 5
    ASSERT_EQ(by_worker, 0);
  }
  EXPECT_TRUE(worker_takes_part(milliseconds(1)));
}

TEST(ThreadPoolTest, MorePiecesThanATicketHoldsAreRefused) {
  ThreadPool pool(2);
  EXPECT_THROW(pool.run(int64_t{1} << 20, [](int64_t, int) {}), Error);
}

TEST(ThreadPoolTest, IdleWorkersPark) {
  ThreadPool pool(4);
  pool.run(100, [](int64_t, int) {});
  std::this_thread::sleep_for(milliseconds(20));
  const double before = process_cpu_seconds();
  std::this_thread::sleep_for(milliseconds(100));
  EXPECT_LT(process_cpu_seconds() - before, 0.02);
}

TEST(ThreadPoolTest, PoolsComeAndGo) {
  std::atomic<int> done{0};
  for (int round = 0; round < 200; ++round) {
    ThreadPool pool(1 + round % 4);
    if (round % 2) pool.run(5, [&](int64_t, int) { ++done; });
  }
  EXPECT_EQ(done, 500);
}

TEST(ThreadPoolTest, NeedsAThread) {
  EXPECT_THROW(ThreadPool(0), Error);
  EXPECT_GE(available_cores(), 1);
}

}  // namespace
}  // namespace brayton
