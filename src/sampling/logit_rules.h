// What a request does to its logits before they become probabilities: bias, forbidden tokens,
// penalties. Sparse: a step touches the tokens that a rule names, never the whole vocabulary.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "brayton/request.h"

namespace brayton {

// Of one sequence, from admission to end.
class LogitRules {
 public:
  void reset(const SamplingParams& params, std::span<const int32_t> prompt,
             std::span<const int32_t> end_ids);
  // True when apply() may change anything now.
  bool active() const;
  void apply(float* logits) const;
  void record(int32_t token);  // it was generated

  int64_t generated() const { return generated_; }

 private:
  struct TokenCount {
    int32_t token;
    int32_t generated;  // 0: in the prompt only
  };
  void forbid_bad_words(float* logits) const;
  void penalise(float* logits) const;

  SamplingParams params_;
  std::vector<int32_t> end_ids_;
  bool penalties_ = false;
  int64_t generated_ = 0;
  std::vector<TokenCount> counts_;  // by token
  std::vector<int32_t> recent_;     // the last tokens, as many as the longest bad word needs
  size_t recent_limit_ = 0;
};

}  // namespace brayton
