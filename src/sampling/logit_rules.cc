#include "sampling/logit_rules.h"

#include <algorithm>
#include <limits>

namespace brayton {
namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();
constexpr double kLargest = std::numeric_limits<float>::max();

// Back to float; what overflows stays finite, what is forbidden stays forbidden.
float to_logit(double x) {
  if (x == -std::numeric_limits<double>::infinity()) return kForbidden;
  return static_cast<float>(std::clamp(x, -kLargest, kLargest));
}

}  // namespace

void LogitRules::reset(const SamplingParams& params, std::span<const int32_t> prompt,
                       std::span<const int32_t> end_ids) {
  params_ = params;
  end_ids_.assign(end_ids.begin(), end_ids.end());
  generated_ = 0;
  penalties_ = params.repetition_penalty != 1.0 || params.presence_penalty != 0.0 ||
               params.frequency_penalty != 0.0;
  counts_.clear();
  if (params.repetition_penalty != 1.0) {
    std::vector<int32_t> seen(prompt.begin(), prompt.end());
    std::sort(seen.begin(), seen.end());
    seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
    for (int32_t token : seen) counts_.push_back({token, 0});
  }
  recent_limit_ = 0;
  for (const auto& word : params.bad_words)
    recent_limit_ = std::max(recent_limit_, word.size() - 1);
  const size_t tail = std::min(recent_limit_, prompt.size());
  recent_.assign(prompt.end() - static_cast<std::ptrdiff_t>(tail), prompt.end());
}

bool LogitRules::active() const {
  return !params_.logit_bias.empty() || !params_.bad_words.empty() ||
         (generated_ < params_.min_tokens && !end_ids_.empty()) || (penalties_ && !counts_.empty());
}

void LogitRules::apply(float* logits) const {
  for (const auto& [token, bias] : params_.logit_bias)
    logits[token] = to_logit(static_cast<double>(logits[token]) + bias);
  forbid_bad_words(logits);
  if (generated_ < params_.min_tokens)
    for (int32_t token : end_ids_) logits[token] = kForbidden;
  if (penalties_) penalise(logits);
}

void LogitRules::forbid_bad_words(float* logits) const {
  for (const auto& word : params_.bad_words) {
    const size_t before = word.size() - 1;
    if (before <= recent_.size() && std::equal(word.begin(), word.end() - 1,
                                               recent_.end() - static_cast<std::ptrdiff_t>(before)))
      logits[word.back()] = kForbidden;
  }
}

void LogitRules::penalise(float* logits) const {
  for (const TokenCount& seen : counts_) {
    double x = logits[seen.token];
    x = x > 0 ? x / params_.repetition_penalty : x * params_.repetition_penalty;
    if (seen.generated > 0)
      x -= params_.frequency_penalty * seen.generated + params_.presence_penalty;
    logits[seen.token] = to_logit(x);
  }
}

void LogitRules::record(int32_t token) {
  ++generated_;
  if (penalties_) {
    const auto at =
        std::lower_bound(counts_.begin(), counts_.end(), token,
                         [](const TokenCount& seen, int32_t value) { return seen.token < value; });
    if (at != counts_.end() && at->token == token) {
      ++at->generated;
    } else {
      counts_.insert(at, {token, 1});
    }
  }
  if (recent_limit_ > 0) {
    if (recent_.size() == recent_limit_) recent_.erase(recent_.begin());
    recent_.push_back(token);
  }
}

}  // namespace brayton
