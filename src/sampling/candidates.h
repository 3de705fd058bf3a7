// The tokens that may still be drawn, and the filters that thin them out.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "brayton/request.h"
#include "sampling/prefix_cut.h"

namespace brayton {

// A row after the softmax: weights[i] = exp((logits[i] - maximum) * scale), not normalised.
struct WeightedRow {
  const float* logits = nullptr;   // [count]
  const float* weights = nullptr;  // [count]
  int64_t count = 0;
  float maximum = 0.0f;
  float scale = 1.0f;  // 1 / temperature
  double total = 0.0;  // of the weights
};

bool filters_anything(const SamplingParams& params, int64_t count);

// Tokens in order of their ids. The memory is kept from row to row.
class Candidates {
 public:
  // Applies typical_p, top_k, top_p, min_p. `group_maxima` as find_maximum gives them.
  void filter(const WeightedRow& row, const SamplingParams& params,
              const std::vector<float>& group_maxima);
  // The token at `uniform` in [0, 1) of the cumulated weights.
  int32_t draw(double uniform) const;

  std::span<const int32_t> ids() const { return ids_; }

 private:
  void gather(const WeightedRow& row, const float* values, float at_least);
  void keep_typical(const WeightedRow& row, double mass);
  void keep_top_k(const WeightedRow& row, int64_t k);
  void keep_top_p(double target);  // in the weights' unit
  void keep_min_p(double fraction);
  double total_weight() const;
  template <class Keep>
  void keep_if(const Keep& keep);

  std::vector<int32_t> ids_;
  std::vector<float> weights_;
  std::vector<uint32_t> keys_;
  std::vector<float> scratch_;
  double total_ = 0.0;  // of the weights that stayed
  PrefixSelector selector_;
};

}  // namespace brayton
