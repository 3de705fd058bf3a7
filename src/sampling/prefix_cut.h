// Where a list in descending order would be cut, without sorting it.
#pragma once

#include <bit>
#include <cstdint>
#include <span>
#include <vector>

namespace brayton {

// Unsigned integers in the order of the floats; NaN excepted.
inline uint32_t ordered_key(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x == 0.0f ? 0.0f : x);
  return (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
}

// The prefix ends among the items of this key.
struct PrefixCut {
  uint32_t key = 0;
  double before = 0;  // the sum of all items of larger keys
};

// Finds the shortest prefix, in descending order of key, whose weights sum to `target` at least;
// all of it when the sum stays below. Radix selection: three passes at most, whatever the values.
class PrefixSelector {
 public:
  PrefixCut by_weight(std::span<const uint32_t> keys, std::span<const float> weights,
                      double target);
  PrefixCut by_count(std::span<const uint32_t> keys, int64_t count);

 private:
  template <class WeightOf>
  PrefixCut select(std::span<const uint32_t> keys, const WeightOf& weight_of, double target);

  std::vector<double> sums_;
  std::vector<int32_t> members_;  // indices of the items that share the key's known bits
};

}  // namespace brayton
