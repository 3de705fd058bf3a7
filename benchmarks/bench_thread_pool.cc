// The thread pool beside a busy neighbour: a token of 200 regions of 30 us each (on two threads),
// in quiet, then while another process keeps one core busy, pinned to each core in turn and free.
//   brayton_bench_thread_pool [threads [seconds]]
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "core/thread_pool.h"

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// Work by the count, not by the clock: a suspended thread does none.
uint64_t churn(int64_t rounds) {
  uint64_t x = 1;
  for (int64_t i = 0; i < rounds; ++i) {
    x = x * 6364136223846793005u + 1442695040888963407u;
    __asm__ volatile("" : "+r"(x));
  }
  return x;
}

class Hog {
 public:
  explicit Hog(int core) : process_(fork()) {  // core < 0: wherever the system puts it
    if (process_ != 0) return;
    if (core >= 0) {
      cpu_set_t set;
      CPU_ZERO(&set);
      CPU_SET(core, &set);
      sched_setaffinity(0, sizeof(set), &set);
    }
    for (;;) churn(1 << 20);
  }
  ~Hog() {
    kill(process_, SIGKILL);
    waitpid(process_, nullptr, 0);
  }

 private:
  pid_t process_;
};

struct Rates {
  double tokens_per_s;
  double worst_ms;  // the slowest token
};

Rates measure(brayton::ThreadPool& pool, int64_t rounds_per_piece, double seconds) {
  constexpr int kRegions = 200, kPieces = 8;
  const Clock::time_point begin = Clock::now();
  int tokens = 0;
  double worst = 0;
  for (; seconds_since(begin) < seconds; ++tokens) {
    const Clock::time_point token = Clock::now();
    for (int region = 0; region < kRegions; ++region) {
      pool.run(kPieces, [&](int64_t, int) { churn(rounds_per_piece); });
      churn(rounds_per_piece / 4);  // the serial part
    }
    worst = std::max(worst, seconds_since(token));
  }
  return {tokens / seconds_since(begin), worst * 1e3};
}

int64_t rounds_in(double seconds) {
  const int64_t trial = 1 << 20;
  double best = 1;
  for (int i = 0; i < 10; ++i) {
    const Clock::time_point begin = Clock::now();
    churn(trial);
    best = std::min(best, seconds_since(begin));
  }
  return static_cast<int64_t>(static_cast<double>(trial) * seconds / best);
}

}  // namespace

int main(int count, char** arguments) {
  const int threads = count > 1 ? std::atoi(arguments[1]) : brayton::available_cores();
  const double seconds = count > 2 ? std::atof(arguments[2]) : 2.0;
  const int64_t rounds = rounds_in(30e-6 * 2 / 8);
  brayton::ThreadPool alone(1), pool(threads);
  const double one = measure(alone, rounds, seconds).tokens_per_s;
  const Rates quiet = measure(pool, rounds, seconds);
  std::printf("1 thread            %7.1f token/s  %4.0f %%\n", one, 100 * one / quiet.tokens_per_s);
  std::printf("%d threads, quiet    %7.1f token/s   100 %%  slowest %.1f ms\n", threads,
              quiet.tokens_per_s, quiet.worst_ms);
  for (int core = brayton::available_cores() - 1; core >= -1; --core) {
    const Hog hog(core);
    const Rates rates = measure(pool, rounds, seconds);
    std::printf("hog on core %2d      %7.1f token/s  %4.0f %%  slowest %.1f ms\n", core,
                rates.tokens_per_s, 100 * rates.tokens_per_s / quiet.tokens_per_s, rates.worst_ms);
  }
  const Rates after = measure(pool, rounds, seconds);
  std::printf("quiet again         %7.1f token/s  %4.0f %%  slowest %.1f ms\n", after.tokens_per_s,
              100 * after.tokens_per_s / quiet.tokens_per_s, after.worst_ms);
}
