// What a machine can do at most, measured: bytes read a second, multiply-adds a second.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "core/thread_pool.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace brayton {

using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// Seconds of one call: the best of `runs`.
template <class Call>
inline double best_of(int runs, const Call& call) {
  double best = 1e9;
  for (int i = 0; i < runs; ++i) {
    const Clock::time_point begin = Clock::now();
    call();
    best = std::min(best, seconds_since(begin));
  }
  return best;
}

inline double read_bandwidth(ThreadPool& pool) {
  constexpr int64_t kPiece = 1 << 17, kPieces = 256;  // 256 MiB
  const std::vector<uint64_t> words(kPiece * kPieces, 1);
  std::vector<uint64_t> sums(kPieces);
  const double seconds = best_of(8, [&] {
    pool.run(kPieces, [&](int64_t piece, int) {
      const uint64_t* p = words.data() + piece * kPiece;
      uint64_t sum = 0;
      for (int64_t i = 0; i < kPiece; ++i) sum += p[i];
      sums[static_cast<size_t>(piece)] = sum;
    });
  });
  for (const uint64_t sum : sums)
    if (sum != kPiece) std::abort();
  return static_cast<double>(words.size() * 8) / seconds;
}

// Multiply-adds of one round of the loops below, per thread.
constexpr int64_t kRounds = 200'000;

#if defined(__x86_64__)
inline void integer_peak_avx512() {  // 16 sums in registers 8 to 23
  for (int64_t i = 0; i < kRounds; ++i)
    __asm__ volatile(
        ".irp r, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23\n"
        "vpdpbusd %%zmm1, %%zmm1, %%zmm\\r\n"
        ".endr\n" ::
            : "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}
__attribute__((target("avx512f"), noinline)) inline void float_peak_avx512() {
  __m512 s[16] = {};
  __m512 a = _mm512_set1_ps(0.5f);
  for (int64_t i = 0; i < kRounds; ++i) {
    __asm__ volatile("" : "+v"(a));
    for (auto& sum : s) {
      sum = _mm512_fmadd_ps(a, a, sum);
      __asm__ volatile("" : "+v"(sum));
    }
  }
  for (auto& sum : s) __asm__ volatile("" ::"v"(sum));
}
__attribute__((target("avx2,fma"), noinline)) inline void integer_peak_avx2() {
  __m256i s[12] = {};
  __m256i a = _mm256_set1_epi8(3);
  for (int64_t i = 0; i < kRounds; ++i) {
    __asm__ volatile("" : "+x"(a));
    for (auto& sum : s) {
      sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(a, a));
      __asm__ volatile("" : "+x"(sum));
    }
  }
  for (auto& sum : s) __asm__ volatile("" ::"x"(sum));
}
__attribute__((target("avx2,fma"), noinline)) inline void float_peak_avx2() {
  __m256 s[12] = {};
  __m256 a = _mm256_set1_ps(0.5f);
  for (int64_t i = 0; i < kRounds; ++i) {
    __asm__ volatile("" : "+x"(a));
    for (auto& sum : s) {
      sum = _mm256_fmadd_ps(a, a, sum);
      __asm__ volatile("" : "+x"(sum));
    }
  }
  for (auto& sum : s) __asm__ volatile("" ::"x"(sum));
}
#endif

// Pairs a second of all threads; 0 where there is no loop for the level.
inline double peak(ThreadPool& pool, const std::string& level, bool integers) {
#if defined(__x86_64__)
  const bool avx512 = level == "avx512";
  if (avx512 || level == "avx2") {
    void (*loop)() = integers ? (avx512 ? integer_peak_avx512 : integer_peak_avx2)
                              : (avx512 ? float_peak_avx512 : float_peak_avx2);
    const int pairs = avx512 ? 16 * (integers ? 64 : 16) : 12 * (integers ? 32 : 8);
    const int64_t pieces = 16;
    const double seconds = best_of(5, [&] { pool.run(pieces, [&](int64_t, int) { loop(); }); });
    return static_cast<double>(pieces * kRounds * pairs) / seconds;
  }
#endif
  return 0;
}

struct Bounds {
  double bytes_per_s, integer_pairs_per_s, float_pairs_per_s;
};

}  // namespace brayton
