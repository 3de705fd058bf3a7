#include "sampling/sampler.h"

#include <algorithm>
#include <functional>
#include <limits>

#include "core/check.h"
#include "sampling/candidates.h"
#include "sampling/logit_rules.h"
#include "sampling/random.h"
#include "sampling/softmax.h"

namespace brayton {
namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

struct Slot {
  bool used = false;
  SamplingParams params;
  uint64_t seed = 0;
  LogitRules rules;
};

}  // namespace

struct Sampler::State {
  int64_t vocab = 0;
  std::vector<Slot> slots;
  // Work space of one row.
  std::vector<float> group_maxima;
  std::vector<float> weights;
  std::vector<float> block_sums;
  std::vector<float> scratch;
  std::vector<float> raw;  // the model's logits, while `logits` carries the rules' changes
  std::vector<TokenLogprob> most_likely;
  Candidates candidates;

  void sample_row(float* logits, Slot& slot, SampledToken& sampled);
  int32_t choose(const float* logits, const RowMaximum& maximum, const Slot& slot);
  int32_t draw(double uniform, double total) const;
  void find_most_likely(const float* logits, int64_t count, double log_total,
                        std::vector<TokenLogprob>& out);
};

Sampler::Sampler(int64_t slots, int64_t vocab_size) : state_(std::make_unique<State>()) {
  state_->vocab = vocab_size;
  state_->slots.resize(static_cast<size_t>(slots));
  state_->weights.resize(static_cast<size_t>(vocab_size));
}

Sampler::~Sampler() = default;

void Sampler::admit(int64_t slot, const SamplingParams& params, uint64_t seed,
                    std::span<const int32_t> prompt, std::span<const int32_t> end_ids) {
  Slot& s = state_->slots.at(static_cast<size_t>(slot));
  BRAYTON_CHECK(!s.used);
  s.used = true;
  s.params = params;
  s.seed = seed;
  s.rules.reset(params, prompt, end_ids);
}

void Sampler::release(int64_t slot) {
  Slot& s = state_->slots.at(static_cast<size_t>(slot));
  BRAYTON_CHECK(s.used);
  s.used = false;
}

void Sampler::sample(const TensorView& logits, std::span<const Row> rows,
                     std::vector<SampledToken>& outputs) {
  outputs.resize(rows.size());
  if (rows.empty()) return;
  BRAYTON_CHECK(logits.dtype == DType::kF32 && logits.rank() == 2);
  BRAYTON_CHECK_EQ(logits.dim(1), state_->vocab);
  for (size_t i = 0; i < rows.size(); ++i) {
    BRAYTON_CHECK(rows[i].row >= 0 && rows[i].row < logits.dim(0));
    Slot& slot = state_->slots.at(static_cast<size_t>(rows[i].slot));
    BRAYTON_CHECK(slot.used);
    state_->sample_row(logits.row_as<float>(rows[i].row), slot, outputs[i]);
  }
}

void Sampler::State::sample_row(float* logits, Slot& slot, SampledToken& sampled) {
  sampled.output.token = 0;
  sampled.output.logprob = 0.0f;
  sampled.output.top_logprobs.clear();
  sampled.error.clear();
  const bool wants_logprobs = slot.params.logprobs >= 0;
  const bool has_rules = slot.rules.active();

  RowMaximum maximum;
  double log_total = 0;
  const float* model_logits = logits;
  if (wants_logprobs || !has_rules) maximum = find_maximum(logits, vocab, group_maxima);
  if (wants_logprobs && maximum.valid && maximum.value != kForbidden) {
    log_total = log_sum_exp(logits, vocab, maximum.value);
    find_most_likely(logits, slot.params.logprobs, log_total, sampled.output.top_logprobs);
  }
  if (has_rules && maximum.valid) {
    if (wants_logprobs) {
      raw.assign(logits, logits + vocab);
      model_logits = raw.data();
    }
    slot.rules.apply(logits);
    maximum = find_maximum(logits, vocab, group_maxima);
  }
  if (!maximum.valid) {
    sampled.error = "[sampler] logits must not be NaN or +infinity: the model gave such values";
    return;
  }
  if (maximum.value == kForbidden) {
    sampled.error =
        "[sampler] at least one token must be allowed: bad_words and min_tokens forbid all that "
        "the model offers";
    return;
  }

  const int32_t token = choose(logits, maximum, slot);
  sampled.output.token = token;
  if (wants_logprobs) sampled.output.logprob = static_cast<float>(model_logits[token] - log_total);
  slot.rules.record(token);
}

int32_t Sampler::State::choose(const float* logits, const RowMaximum& maximum, const Slot& slot) {
  const SamplingParams& params = slot.params;
  if (params.temperature == 0.0) return static_cast<int32_t>(maximum.index);
  // Beyond 1e30 every other token has weight 0 already; infinity times zero would be NaN.
  const float scale = static_cast<float>(std::min(1.0 / params.temperature, 1e30));
  const double total =
      exponentiate(logits, vocab, maximum.value, scale, weights.data(), block_sums);
  const double uniform = uniform_at(slot.seed, static_cast<uint64_t>(slot.rules.generated()));
  if (!filters_anything(params, vocab)) return draw(uniform, total);
  const WeightedRow row{logits, weights.data(), vocab, maximum.value, scale, total};
  candidates.filter(row, params, group_maxima);
  return candidates.draw(uniform);
}

// From all tokens: finds the block of the cumulated weights first, then the token in it.
int32_t Sampler::State::draw(double uniform, double total) const {
  const double target = uniform * total;
  double sum = 0;
  int64_t block = 0;
  while (block + 1 < static_cast<int64_t>(block_sums.size()) && sum + block_sums[block] <= target) {
    sum += block_sums[block];
    ++block;
  }
  // Rounding may leave the target a little beyond the block: the search then goes on behind it.
  int64_t last = -1;
  for (int64_t i = block * kRowBlock; i < vocab; ++i) {
    if (weights[i] == 0.0f) continue;
    last = i;
    sum += weights[i];
    if (sum > target) return static_cast<int32_t>(i);
  }
  for (int64_t i = block * kRowBlock; last < 0; --i)
    if (weights[i] > 0.0f) last = i;
  return static_cast<int32_t>(last);
}

void Sampler::State::find_most_likely(const float* logits, int64_t count, double log_total,
                                      std::vector<TokenLogprob>& out) {
  if (count == 0) return;
  float bound = kForbidden;
  if (count <= static_cast<int64_t>(group_maxima.size())) {
    scratch = group_maxima;
    const auto kth = scratch.begin() + (count - 1);
    std::nth_element(scratch.begin(), kth, scratch.end(), std::greater<>());
    bound = *kth;
  }
  most_likely.clear();
  for (int64_t i = 0; i < vocab; ++i)
    if (logits[i] >= bound) most_likely.push_back({static_cast<int32_t>(i), logits[i]});
  const auto better = [](const TokenLogprob& a, const TokenLogprob& b) {
    return a.logprob != b.logprob ? a.logprob > b.logprob : a.token < b.token;
  };
  const auto end = most_likely.begin() + count;
  std::partial_sort(most_likely.begin(), end, most_likely.end(), better);
  out.assign(most_likely.begin(), end);
  for (TokenLogprob& entry : out) entry.logprob = static_cast<float>(entry.logprob - log_total);
}

}  // namespace brayton
