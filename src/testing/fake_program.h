// A deterministic language model for the executor's tests. Its logits are a hash of the tokens and
// positions that it finds in its own paged cache, so a wrong block, position, offset or a lost
// token changes the answer.
#pragma once

#include <algorithm>
#include <atomic>
#include <functional>
#include <stdexcept>

#include "program/program.h"
#include "sampling/random.h"

namespace brayton {

class FakeProgram : public Program {
 public:
  static constexpr int64_t kVocab = 97;
  static constexpr int32_t kEos = 96;

  explicit FakeProgram(const ProgramOptions& options, int64_t max_positions = 512)
      : options_(options) {
    engine_.model.vocab_size = kVocab;
    engine_.model.max_positions = max_positions;
    engine_.model.eos_token_ids = {kEos};
    sampled_.assign(static_cast<size_t>(options.max_sequences), -1);
    cells_.resize(static_cast<size_t>(options.kv_blocks * options.kv_block_size));
  }

  // The logits after `tokens`, without any cache. Eos is likely in one of 64 places.
  static std::vector<float> logits_after(const std::vector<int32_t>& tokens) {
    uint64_t hash = 0;
    for (size_t i = 0; i < tokens.size(); ++i) hash = extend(hash, tokens[i], i);
    std::vector<float> logits(kVocab);
    fill(hash, logits.data());
    return logits;
  }
  // A greedy answer without batch, cache or executor.
  static std::vector<int32_t> greedy_answer(std::vector<int32_t> tokens, int64_t max_tokens) {
    std::vector<int32_t> answer;
    while (static_cast<int64_t>(answer.size()) < max_tokens) {
      const auto logits = logits_after(tokens);
      const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
      answer.push_back(static_cast<int32_t>(best));
      tokens.push_back(answer.back());
      if (answer.back() == kEos) break;
    }
    return answer;
  }

  const Engine& engine() const override { return engine_; }
  const ProgramOptions& options() const override { return options_; }
  const MemoryPlan& memory() const override { return memory_; }
  std::vector<std::pair<std::string, double>> take_profile() override { return {}; }

  bool samples_on_device() const override { return false; }
  Backend& backend() const override { throw std::logic_error("no backend"); }
  Stream& stream() const override { throw std::logic_error("no stream"); }
  TensorView device_sampled() const override {
    return {sampled_.data(), DType::kI32, Shape{static_cast<int64_t>(sampled_.size())}};
  }
  TensorView device_logits() const override { return {}; }

  void launch(const StepInputs& in) override {
    if (before_run) before_run(in);
    require(in.tokens() >= 1 && in.tokens() <= options_.max_tokens);
    require(in.sequences() >= 1 && in.sequences() <= options_.max_sequences);
    require(in.rows() <= options_.max_logit_rows);
    for (int64_t s = 0; s < in.sequences(); ++s) write_keys(in, s);
    logits_.assign(static_cast<size_t>(in.rows() * kVocab), 0.0f);
    for (int64_t r = 0; r < in.rows(); ++r) {
      int64_t s = 0;
      while (in.query_offsets[s + 1] <= in.logit_rows[r]) ++s;
      uint64_t hash = 0;
      for (int64_t p = 0; p <= in.positions[in.logit_rows[r]]; ++p) {
        const Cell& cell = at(in, s, p);
        hash = extend(hash, cell.token, static_cast<uint64_t>(cell.position));
      }
      fill(hash, &logits_[r * kVocab]);
    }
    steps.fetch_add(1);
    if (after_run) after_run(in, logits_);
    rows_ = in.rows();
  }
  TensorView host_logits() override { return {logits_.data(), DType::kF32, Shape{rows_, kVocab}}; }

  // Set before the executor starts; called on its loop thread.
  std::function<void(const StepInputs&)> before_run;
  std::function<void(const StepInputs&, std::vector<float>&)> after_run;
  std::atomic<int64_t> steps = 0;

 private:
  struct Cell {
    int32_t token = -1;
    int32_t position = -1;
  };

  static uint64_t extend(uint64_t hash, int32_t token, uint64_t position) {
    return mix_bits(hash ^ mix_bits(static_cast<uint64_t>(token) * 1000003u + position));
  }
  static void fill(uint64_t hash, float* logits) {
    for (int64_t v = 0; v < kVocab; ++v)
      logits[v] = static_cast<float>(6 * uniform_at(hash, static_cast<uint64_t>(v)));
    logits[kEos] = hash % 64 == 0 ? 9.0f : -2.0f;
  }
  static void require(bool condition) {
    if (!condition) throw std::logic_error("a malformed step");
  }

  Cell& at(const StepInputs& in, int64_t s, int64_t position) {
    const int64_t column = position / options_.kv_block_size;
    require(column < in.max_blocks);
    const int64_t block = in.block_table[s * in.max_blocks + column];
    require(block >= 0 && block < options_.kv_blocks);
    return cells_[block * options_.kv_block_size + position % options_.kv_block_size];
  }
  void write_keys(const StepInputs& in, int64_t s) {
    const int64_t begin = in.query_offsets[s], end = in.query_offsets[s + 1];
    require(begin < end && in.positions[end - 1] + 1 == in.kv_lengths[s]);
    require(in.kv_lengths[s] <= engine_.model.max_positions);
    for (int64_t t = begin; t < end; ++t) {
      require(t == begin || in.positions[t] == in.positions[t - 1] + 1);
      const int32_t id = in.token_ids[t];
      at(in, s, in.positions[t]) = {id < 0 ? sampled_.at(-id - 1) : id, in.positions[t]};
    }
  }

  Engine engine_;
  ProgramOptions options_;
  MemoryPlan memory_;
  std::vector<Cell> cells_;
  std::vector<int32_t> sampled_;  // by slot
  std::vector<float> logits_;
  int64_t rows_ = 0;
};

}  // namespace brayton
