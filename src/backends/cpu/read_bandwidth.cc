#include "backends/cpu/read_bandwidth.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <vector>

#include "backends/cpu/cpu_memory.h"

namespace brayton::cpu {
namespace {

constexpr int64_t kBytes = int64_t{192} << 20;
constexpr int64_t kPieces = 48;
constexpr int kPasses = 5;

// Eight independent sums, so that loads and not additions are waited for.
uint64_t sum(const uint64_t* data, int64_t count) {
  uint64_t sums[8] = {};
  for (int64_t i = 0; i + 8 <= count; i += 8)
    for (int lane = 0; lane < 8; ++lane) sums[lane] += data[i + lane];
  uint64_t total = 0;
  for (uint64_t one : sums) total += one;
  return total;
}

}  // namespace

double measure_read_bandwidth(ThreadPool& pool) {
  const Buffer memory = allocate_memory(kBytes, /*huge=*/true);
  const auto* data = static_cast<const uint64_t*>(memory.data());
  const int64_t piece_words = kBytes / kPieces / static_cast<int64_t>(sizeof(uint64_t));
  std::memset(memory.data(), 1, kBytes);
  std::vector<uint64_t> results(kPieces);
  double best = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    pool.run(kPieces, [&](int64_t piece, int) {
      results[piece] = sum(data + piece * piece_words, piece_words);
    });
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
    best = std::max(best, static_cast<double>(kBytes) / time.count());
  }
  // The sums are used, so that the loads stay.
  return results[0] == 0 ? 0 : best;
}

}  // namespace brayton::cpu
