#include "sampling/prefix_cut.h"

#include <algorithm>

namespace brayton {
namespace {

struct Digit {
  int shift;
  int bits;
};
constexpr Digit kDigits[] = {{20, 12}, {8, 12}, {0, 8}};

// Walks down from the largest digit; returns the one in which the sum reaches the target, or the
// smallest that holds anything. `before` grows by what lies above it.
uint32_t crossing_digit(const std::vector<double>& sums, size_t bins, double target,
                        double& before) {
  size_t last = bins - 1;
  double last_before = before;
  for (size_t bin = bins; bin-- > 0;) {
    if (sums[bin] == 0) continue;
    last = bin;
    last_before = before;
    if (before + sums[bin] >= target) return static_cast<uint32_t>(bin);
    before += sums[bin];
  }
  before = last_before;
  return static_cast<uint32_t>(last);
}

}  // namespace

template <class WeightOf>
PrefixCut PrefixSelector::select(std::span<const uint32_t> keys, const WeightOf& weight_of,
                                 double target) {
  PrefixCut cut;
  for (const Digit digit : kDigits) {
    const size_t bins = size_t{1} << digit.bits;
    const uint32_t mask = static_cast<uint32_t>(bins - 1);
    sums_.assign(bins, 0.0);
    if (digit.shift == kDigits[0].shift) {
      for (size_t i = 0; i < keys.size(); ++i) sums_[keys[i] >> digit.shift] += weight_of(i);
    } else {
      for (int32_t i : members_) sums_[(keys[i] >> digit.shift) & mask] += weight_of(i);
    }
    const uint32_t found = crossing_digit(sums_, bins, target, cut.before);
    cut.key |= found << digit.shift;
    if (digit.shift == kDigits[0].shift) {
      members_.resize(keys.size());
      size_t count = 0;
      for (size_t i = 0; i < keys.size(); ++i) {
        members_[count] = static_cast<int32_t>(i);
        count += (keys[i] >> digit.shift) == found;
      }
      members_.resize(count);
    } else {
      std::erase_if(members_,
                    [&](int32_t i) { return ((keys[i] >> digit.shift) & mask) != found; });
    }
  }
  return cut;
}

PrefixCut PrefixSelector::by_weight(std::span<const uint32_t> keys, std::span<const float> weights,
                                    double target) {
  return select(keys, [&](size_t i) { return static_cast<double>(weights[i]); }, target);
}

PrefixCut PrefixSelector::by_count(std::span<const uint32_t> keys, int64_t count) {
  return select(keys, [](size_t) { return 1.0; }, static_cast<double>(count));
}

}  // namespace brayton
