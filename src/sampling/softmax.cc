#include "sampling/softmax.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace brayton {
namespace {

using F4 = float __attribute__((vector_size(16)));
using I4 = int32_t __attribute__((vector_size(16)));

constexpr float kLowest = -std::numeric_limits<float>::infinity();
constexpr int64_t kVectors = kRowBlock / 4;

inline F4 load(const float* p) {
  F4 v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}
inline void store(float* p, F4 v) { std::memcpy(p, &v, sizeof(v)); }
inline F4 splat(float x) { return F4{x, x, x, x}; }

// exp(x) for x <= 0: x = k ln2 + r with |r| <= ln2 / 2, a degree-6 polynomial for exp(r) (Cephes),
// 2^k by the exponent bits. 0 below the smallest normal number.
inline F4 exp_of_negative(F4 x) {
  const F4 lowest = splat(-87.0f);
  const I4 keep = x >= lowest;
  x = x >= lowest ? x : lowest;
  const F4 magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const F4 k = (x * 1.44269504f + magic) - magic;
  const F4 r = (x - k * 0.693359375f) + k * 2.12194440e-4f;
  F4 p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  const I4 power = (__builtin_convertvector(k, I4) + 127) << 23;
  return reinterpret_cast<F4>(reinterpret_cast<I4>(p * reinterpret_cast<F4>(power)) & keep);
}

// One block of at most kRowBlock logits; the last vector is filled up with -infinity.
template <class Visit>
void for_each_vector(const float* p, int64_t count, const Visit& visit) {
  const int64_t whole = count / 4;
  for (int64_t i = 0; i < whole; ++i) visit(i * 4, load(p + i * 4));
  if (count % 4 != 0) {
    float last[4] = {kLowest, kLowest, kLowest, kLowest};
    std::memcpy(last, p + whole * 4, sizeof(float) * static_cast<size_t>(count % 4));
    visit(whole * 4, load(last));
  }
}

inline float sum_lanes(F4 v) { return (v[0] + v[1]) + (v[2] + v[3]); }

}  // namespace

RowMaximum find_maximum(const float* logits, int64_t count, std::vector<float>& group_maxima) {
  group_maxima.clear();
  const F4 largest = splat(std::numeric_limits<float>::max());
  I4 valid = {-1, -1, -1, -1};
  RowMaximum best;
  best.value = kLowest;
  int64_t best_block = 0;
  for (int64_t begin = 0; begin < count; begin += kRowBlock) {
    const int64_t size = std::min(kRowBlock, count - begin);
    F4 a = splat(kLowest), b = a;
    if (size == kRowBlock) {
      I4 ok_a = {-1, -1, -1, -1}, ok_b = ok_a;
      for (int64_t i = 0; i < kVectors; i += 2) {
        const F4 x = load(logits + begin + i * 4);
        const F4 y = load(logits + begin + i * 4 + 4);
        ok_a &= x <= largest;
        ok_b &= y <= largest;
        a = x > a ? x : a;
        b = y > b ? y : b;
      }
      valid &= ok_a & ok_b;
      a = a > b ? a : b;
    } else {
      for_each_vector(logits + begin, size, [&](int64_t, F4 x) {
        valid &= x <= largest;
        a = x > a ? x : a;
      });
    }
    for (int lane = 0; lane < 4; ++lane) {
      if (lane < size) group_maxima.push_back(a[lane]);
      if (a[lane] > best.value) {
        best.value = a[lane];
        best_block = begin;
      }
    }
  }
  best.valid = (valid[0] & valid[1] & valid[2] & valid[3]) != 0;
  for (int64_t i = best_block; i < count && best.index < 0; ++i)
    if (logits[i] == best.value) best.index = i;
  return best;
}

double exponentiate(const float* logits, int64_t count, float maximum, float scale, float* weights,
                    std::vector<float>& block_sums) {
  block_sums.clear();
  double total = 0;
  for (int64_t begin = 0; begin < count; begin += kRowBlock) {
    const int64_t size = std::min(kRowBlock, count - begin);
    F4 sum = splat(0.0f);
    for_each_vector(logits + begin, size, [&](int64_t i, F4 x) {
      const F4 e = exp_of_negative((x - maximum) * scale);
      sum += e;
      if (i + 4 <= size) {
        store(weights + begin + i, e);
      } else {
        for (int64_t j = i; j < size; ++j) weights[begin + j] = e[j - i];
      }
    });
    block_sums.push_back(sum_lanes(sum));
    total += block_sums.back();
  }
  return total;
}

double log_sum_exp(const float* logits, int64_t count, float maximum) {
  double total = 0;
  for (int64_t begin = 0; begin < count; begin += kRowBlock) {
    F4 sum = splat(0.0f);
    for_each_vector(logits + begin, std::min(kRowBlock, count - begin),
                    [&](int64_t, F4 x) { sum += exp_of_negative(x - maximum); });
    total += sum_lanes(sum);
  }
  return maximum + std::log(total);
}

double log_probability(const float* logits, int64_t count, int64_t index) {
  std::vector<float> group_maxima;
  const RowMaximum maximum = find_maximum(logits, count, group_maxima);
  if (!maximum.valid || maximum.value == kLowest) return std::numeric_limits<double>::quiet_NaN();
  return logits[index] - log_sum_exp(logits, count, maximum.value);
}

}  // namespace brayton
