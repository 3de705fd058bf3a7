#include "sampling/candidates.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "core/check.h"

namespace brayton {

bool filters_anything(const SamplingParams& params, int64_t count) {
  return params.typical_p < 1.0 || (params.top_k > 0 && params.top_k < count) ||
         params.top_p < 1.0 || params.min_p > 0.0;
}

// The first filter sees the whole vocabulary: a cheap bound leaves most of it out beforehand.
void Candidates::filter(const WeightedRow& row, const SamplingParams& params,
                        const std::vector<float>& group_maxima) {
  const bool top_k = params.top_k > 0 && params.top_k < row.count;
  const float smallest = std::numeric_limits<float>::min();
  if (params.typical_p < 1.0) {
    gather(row, row.weights, smallest);
    keep_typical(row, params.typical_p);
  } else if (top_k) {
    float bound = -std::numeric_limits<float>::infinity();
    if (params.top_k <= static_cast<int64_t>(group_maxima.size())) {
      scratch_ = group_maxima;
      const auto kth = scratch_.begin() + (params.top_k - 1);
      std::nth_element(scratch_.begin(), kth, scratch_.end(), std::greater<>());
      bound = *kth;
    }
    gather(row, row.logits, bound);
  } else if (params.top_p < 1.0) {
    // Tokens below this weight sum to less than 1 - top_p of the total.
    const double bound = (1.0 - params.top_p) * row.total / static_cast<double>(row.count);
    gather(row, row.weights, std::max(smallest, static_cast<float>(bound * 0.999)));
  } else {
    gather(row, row.weights, std::max(smallest, static_cast<float>(params.min_p * 0.999)));
  }
  const bool all_of_top_p = params.typical_p == 1.0 && !top_k;
  if (top_k) keep_top_k(row, params.top_k);
  if (params.top_p < 1.0) keep_top_p(params.top_p * (all_of_top_p ? row.total : total_weight()));
  if (params.min_p > 0.0) keep_min_p(params.min_p);
  total_ = total_weight();
}

void Candidates::gather(const WeightedRow& row, const float* values, float at_least) {
  ids_.resize(static_cast<size_t>(row.count));
  weights_.resize(static_cast<size_t>(row.count));
  size_t kept = 0;
  for (int64_t i = 0; i < row.count; ++i) {
    ids_[kept] = static_cast<int32_t>(i);
    weights_[kept] = row.weights[i];
    kept += values[i] >= at_least;
  }
  ids_.resize(kept);
  weights_.resize(kept);
}

// In several sums, so that one addition need not wait for the one before.
double Candidates::total_weight() const {
  constexpr size_t kSums = 8;
  double sums[kSums] = {};
  size_t i = 0;
  for (; i + kSums <= weights_.size(); i += kSums)
    for (size_t j = 0; j < kSums; ++j) sums[j] += weights_[i + j];
  double total = 0;
  for (; i < weights_.size(); ++i) total += weights_[i];
  for (double sum : sums) total += sum;
  return total;
}

template <class Keep>
void Candidates::keep_if(const Keep& keep) {
  size_t kept = 0;
  for (size_t i = 0; i < ids_.size(); ++i) {
    const bool stays = keep(i);
    const float weight = weights_[i];
    ids_[kept] = ids_[i];
    weights_[kept] = weight;
    kept += stays;
  }
  ids_.resize(kept);
  weights_.resize(kept);
}

// Meister et al. 2022: the tokens whose information is nearest to the entropy.
void Candidates::keep_typical(const WeightedRow& row, double mass) {
  const double total = total_weight();
  const double log_total = std::log(total);
  const auto log_p = [&](size_t i) {
    return (row.logits[ids_[i]] - row.maximum) * static_cast<double>(row.scale) - log_total;
  };
  double entropy = 0;
  for (size_t i = 0; i < ids_.size(); ++i) entropy -= weights_[i] / total * log_p(i);
  keys_.resize(ids_.size());
  for (size_t i = 0; i < ids_.size(); ++i)
    keys_[i] = ~ordered_key(static_cast<float>(std::fabs(-log_p(i) - entropy)));
  const PrefixCut cut = selector_.by_weight(keys_, weights_, mass * total);
  keep_if([&](size_t i) { return keys_[i] >= cut.key; });
}

void Candidates::keep_top_k(const WeightedRow& row, int64_t k) {
  if (static_cast<int64_t>(ids_.size()) <= k) return;
  keys_.resize(ids_.size());
  for (size_t i = 0; i < ids_.size(); ++i) keys_[i] = ordered_key(row.logits[ids_[i]]);
  const PrefixCut cut = selector_.by_count(keys_, k);
  keep_if([&](size_t i) { return keys_[i] >= cut.key; });
}

void Candidates::keep_top_p(double target) {
  keys_.resize(ids_.size());
  for (size_t i = 0; i < ids_.size(); ++i) keys_[i] = ordered_key(weights_[i]);
  const PrefixCut cut = selector_.by_weight(keys_, weights_, target);
  double sum = cut.before;
  keep_if([&](size_t i) {
    if (keys_[i] != cut.key) return keys_[i] > cut.key;
    const bool stays = sum < target;  // equal weights: the lower ids first
    sum += weights_[i];
    return stays;
  });
}

void Candidates::keep_min_p(double fraction) {
  const float largest = *std::max_element(weights_.begin(), weights_.end());
  const double at_least = fraction * largest;
  keep_if([&](size_t i) { return weights_[i] >= at_least; });
}

int32_t Candidates::draw(double uniform) const {
  BRAYTON_CHECK(!ids_.empty());
  const double target = uniform * total_;
  double sum = 0;
  size_t last = 0;
  for (size_t i = 0; i < ids_.size(); ++i) {
    if (weights_[i] == 0.0f) continue;
    last = i;
    sum += weights_[i];
    if (sum > target) break;
  }
  return ids_[last];
}

}  // namespace brayton
