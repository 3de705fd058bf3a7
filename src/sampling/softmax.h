// Passes over one row of logits. Written with 16-byte vectors, which every target has, so that
// results do not depend on the machine's instruction set.
#pragma once

#include <cstdint>
#include <vector>

namespace brayton {

// Elements whose sums and maxima are kept apart: the grain of skipping and of drawing.
inline constexpr int64_t kRowBlock = 256;

struct RowMaximum {
  float value = 0.0f;
  int64_t index = -1;  // the lowest, among equals
  bool valid = true;   // no NaN, no +infinity
};

// `group_maxima`: the maxima of disjoint groups that cover the row, at most 64 elements each. Their
// k-th largest is a lower bound of the row's k-th largest.
RowMaximum find_maximum(const float* logits, int64_t count, std::vector<float>& group_maxima);

// weights[i] = exp((logits[i] - maximum) * scale), relative error below 1e-6 for scale 1.
// `block_sums`: one sum per kRowBlock elements. Returns the sum of all. maximum must be finite.
double exponentiate(const float* logits, int64_t count, float maximum, float scale, float* weights,
                    std::vector<float>& block_sums);

// log(sum_i(exp(logits[i]))); `maximum` is the row's.
double log_sum_exp(const float* logits, int64_t count, float maximum);

// log-softmax of one entry; NaN when the row holds a NaN or +infinity.
double log_probability(const float* logits, int64_t count, int64_t index);

}  // namespace brayton
