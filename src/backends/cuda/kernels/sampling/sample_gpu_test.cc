// Tokens drawn on the device are those that Sampler draws from the same logits, whatever the
// parameters, the history, the type and the number of rows; broken rows break no others.
#include <iostream>
#include <limits>

#include "backends/cuda/kernels/gpu_test.h"
#include "sampling/device_sampler.h"

namespace brayton::cuda {
namespace {

using testing::Tensor;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// One sequence's request.
struct Request {
  SamplingParams params;
  uint64_t seed = 0;
  std::vector<int32_t> prompt;
  std::vector<int32_t> end_ids;
};

std::string describe(const Request& request) {
  const SamplingParams& p = request.params;
  return format(
      "temperature {} top_k {} top_p {} min_p {} typical_p {} repetition {} presence {} frequency "
      "{} biases {} bad words {} min_tokens {} logprobs {} seed {}",
      p.temperature, p.top_k, p.top_p, p.min_p, p.typical_p, p.repetition_penalty,
      p.presence_penalty, p.frequency_penalty, p.logit_bias.size(), p.bad_words.size(),
      p.min_tokens, p.logprobs, request.seed);
}

// The device's sampler and the host's, given the same.
class SamplerPair {
 public:
  SamplerPair(Backend& backend, Stream& stream, int64_t slots, int64_t vocab)
      : stream_(stream),
        backend_(backend),
        device_(backend,
                {.slots = slots, .vocab_size = vocab, .max_rows = 2 * slots, .max_length = 4096}),
        host_(slots, vocab),
        requests_(static_cast<size_t>(slots)) {}

  void admit(int64_t slot, Request request) {
    Sampler::check(request.params, 1 << 18);
    device_.admit(slot, request.params, request.seed, request.prompt, request.end_ids);
    host_.admit(slot, request.params, request.seed, request.prompt, request.end_ids);
    requests_[static_cast<size_t>(slot)] = std::move(request);
  }
  void release(int64_t slot) {
    device_.release(slot);
    host_.release(slot);
  }

  // Draws from every row and compares. Returns the indices into `rows` whose tokens differ; all
  // else that differs fails the test.
  std::vector<size_t> step(const Tensor& logits, const std::vector<Sampler::Row>& rows) {
    const DeviceTensor on_device(backend_, logits);
    device_.launch(stream_, on_device, rows);
    device_.collect(actual_);
    const Tensor copy(DType::kF32, logits.view().shape);
    for (int64_t i = 0; i < copy.view().dim(0); ++i)
      for (int64_t j = 0; j < copy.view().dim(1); ++j)
        copy.view().row_as<float>(i)[j] = load_float(logits, i, j);
    host_.sample(copy, rows, expected_);
    EXPECT_EQ(actual_.size(), expected_.size());
    std::vector<size_t> differing;
    for (size_t i = 0; i < rows.size(); ++i) {
      SCOPED_TRACE(format("row {} slot {}: {}", rows[i].row, rows[i].slot,
                          describe(requests_[static_cast<size_t>(rows[i].slot)])));
      if (compare(actual_[i], expected_[i])) continue;
      differing.push_back(i);
      std::cerr << format("token {} instead of {} drawn with {}\n", actual_[i].output.token,
                          expected_[i].output.token,
                          describe(requests_[static_cast<size_t>(rows[i].slot)]));
    }
    return differing;
  }
  const std::vector<SampledToken>& actual() const { return actual_; }
  DeviceSampler& device() { return device_; }

 private:
  static bool compare(const SampledToken& actual, const SampledToken& expected) {
    EXPECT_EQ(actual.error, expected.error);
    const TokenOutput &a = actual.output, &e = expected.output;
    if (!expected.error.empty()) {
      EXPECT_EQ(a.token, 0);
      return true;
    }
    EXPECT_EQ(a.top_logprobs.size(), e.top_logprobs.size());
    for (size_t n = 0; n < std::min(a.top_logprobs.size(), e.top_logprobs.size()); ++n) {
      EXPECT_EQ(a.top_logprobs[n].token, e.top_logprobs[n].token) << "most likely token " << n;
      expect_near(a.top_logprobs[n].logprob, e.top_logprobs[n].logprob);
    }
    if (a.token != e.token) return false;
    expect_near(a.logprob, e.logprob);
    return true;
  }
  static void expect_near(float actual, float expected) {
    if (actual == expected) return;  // -infinity too
    EXPECT_NEAR(actual, expected, 1e-5 + 1e-6 * std::abs(expected));
  }

  Stream& stream_;
  Backend& backend_;
  DeviceSampler device_;
  Sampler host_;
  std::vector<Request> requests_;
  std::vector<SampledToken> actual_, expected_;
};

class Sample : public GpuTest {
 protected:
  int64_t up_to(int64_t most) {
    return static_cast<int64_t>(random_() % static_cast<uint64_t>(most + 1));
  }
  bool chance(int percent) { return up_to(99) < percent; }
  double between(double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(random_);
  }
  int32_t any_token(int64_t vocab) { return static_cast<int32_t>(up_to(vocab - 1)); }
  std::vector<int32_t> any_tokens(int64_t count, int64_t vocab) {
    std::vector<int32_t> tokens;
    for (int64_t i = 0; i < count; ++i) tokens.push_back(any_token(vocab));
    return tokens;
  }

  // Each parameter in force or not, independently.
  Request any_request(int64_t vocab) {
    Request request;
    SamplingParams& p = request.params;
    request.seed = random_();
    request.prompt = any_tokens(1 + up_to(200), vocab);
    if (chance(80)) p.temperature = between(0.3, 2.0);
    if (chance(35)) p.top_k = 1 + up_to(chance(70) ? 60 : 3 * vocab / 2);
    if (chance(40)) p.top_p = chance(20) ? between(0.99, 0.99999) : between(0.02, 0.99);
    if (chance(25)) p.min_p = between(0.0, 0.4);
    if (chance(20)) p.typical_p = between(0.05, 0.98);
    if (chance(30)) p.repetition_penalty = between(0.7, 1.8);
    if (chance(20)) p.presence_penalty = between(-1.0, 2.0);
    if (chance(20)) p.frequency_penalty = between(-1.0, 2.0);
    if (chance(20))
      for (int64_t i = up_to(30); i >= 0; --i)  // some of them twice
        p.logit_bias.emplace_back(any_token(std::min<int64_t>(vocab, 100)),
                                  static_cast<float>(between(-5.0, 5.0)));
    if (chance(20))
      for (int64_t i = up_to(12); i >= 0; --i)
        p.bad_words.push_back(any_tokens(1 + up_to(2), vocab));
    if (chance(20)) {
      p.min_tokens = up_to(4);
      request.end_ids = any_tokens(1 + up_to(3), vocab);
    }
    if (chance(30)) p.logprobs = up_to(std::min<int64_t>(20, vocab));
    return request;
  }

  // Sometimes of few distinct values, so that many tie, and sometimes with forbidden tokens.
  Tensor any_logits(DType dtype, int64_t rows, int64_t vocab) {
    Tensor logits(dtype, {rows, vocab});
    for (int64_t r = 0; r < rows; ++r) {
      const auto spread = static_cast<float>(between(0.3, 5.0));
      const float grain = chance(30) ? 0.25f : 0.0f;
      const bool holes = chance(15);
      std::normal_distribution<float> normal(0.0f, spread);
      for (int64_t i = 0; i < vocab; ++i) {
        float x = normal(random_);
        if (grain > 0.0f) x = std::round(x / grain) * grain;
        if (holes && i > 0 && random_() % 3 == 0) x = -kInfinity;
        store_float(logits, r, i, x);
      }
    }
    return logits;
  }

  // Sequences of random parameters, `rounds` times `steps` tokens each; rows in random order, some
  // of them of no slot.
  void compare_random(DType dtype, int64_t vocab, int64_t slots, int rounds, int steps) {
    SCOPED_TRACE(format("{} vocabulary {} slots {}", dtype_name(dtype), vocab, slots));
    SamplerPair pair(backend(), stream(), slots, vocab);
    int64_t tokens = 0, differing = 0;
    for (int round = 0; round < rounds; ++round) {
      for (int64_t slot = 0; slot < slots; ++slot) pair.admit(slot, any_request(vocab));
      for (int step = 0; step < steps; ++step) {
        const int64_t spare = up_to(slots);
        const Tensor logits = any_logits(dtype, slots + spare, vocab);
        std::vector<int64_t> order;
        for (int64_t i = 0; i < slots + spare; ++i) order.push_back(i);
        std::shuffle(order.begin(), order.end(), random_);
        std::vector<Sampler::Row> rows;
        for (int64_t slot = 0; slot < slots; ++slot)
          if (!chance(15)) rows.push_back({order[static_cast<size_t>(slot)], slot});
        tokens += static_cast<int64_t>(rows.size());
        for (size_t i : pair.step(logits, rows)) {  // their histories part: begin anew
          ++differing;
          pair.release(rows[i].slot);
          pair.admit(rows[i].slot, any_request(vocab));
        }
        if (HasFailure()) return;
      }
      for (int64_t slot = 0; slot < slots; ++slot) pair.release(slot);
    }
    // Weights and sums that are rounded differently part them once in very many tokens.
    EXPECT_LE(differing, 1 + tokens / 2000) << "of " << tokens << " tokens";
  }
};

// 1 and 40: less than a piece, a stretch; 1000, 5003: fewer stretches than warps, with a tail;
// 50257: rows at odd addresses, a team of four or eight; 128256: that of a real model.
TEST_F(Sample, TokensAreSamplersWhateverTheParameters) {
  compare_random(DType::kF32, 1, 3, 2, 3);
  compare_random(DType::kF32, 40, 32, 5, 6);
  compare_random(DType::kF32, 1000, 64, 8, 6);
  compare_random(DType::kF32, 5003, 48, 2, 4);
  compare_random(DType::kF32, 50257, 12, 1, 3);
  compare_random(DType::kF32, 128256, 8, 1, 3);
}

TEST_F(Sample, SixteenBitLogits) {
  for (DType dtype : {DType::kBF16, DType::kF16}) {
    compare_random(dtype, 1000, 64, 3, 4);
    compare_random(dtype, 50257, 8, 1, 2);
    compare_random(dtype, 128256, 6, 1, 2);
  }
}

TEST_F(Sample, AVocabularyAsLargeAsItMayBe) { compare_random(DType::kBF16, 1 << 18, 6, 1, 2); }

// All equal: every list overflows, every bound is a tie.
TEST_F(Sample, TiesWithoutEnd) {
  constexpr int64_t kVocab = 5003;
  std::vector<Request> requests(9);
  for (Request& request : requests) {
    request.params.temperature = 1.0;
    request.seed = random_();
    request.prompt = {5, 6};
  }
  requests[0].params.top_k = 7;
  requests[1].params.top_p = 0.3;
  requests[2].params.top_p = 1e-12;
  requests[3].params.min_p = 1.0;
  requests[4].params.typical_p = 0.4;
  requests[5].params.logprobs = 20;
  requests[6].params.top_k = 4999;
  requests[6].params.top_p = 0.9;
  requests[7].params.temperature = 0.0;
  requests[7].params.repetition_penalty = 1.5;
  requests[8].params.temperature = 1e300;
  requests[8].params.top_p = 0.5;
  SamplerPair pair(backend(), stream(), 9, kVocab);
  std::vector<Sampler::Row> rows;
  for (int64_t i = 0; i < 9; ++i) {
    pair.admit(i, requests[static_cast<size_t>(i)]);
    rows.push_back({i, i});
  }
  const Tensor logits(DType::kF32, {9, kVocab});
  for (float value : {0.0f, -3.5f, 2.25f}) {
    std::fill_n(logits.view().as<float>(), 9 * kVocab, value);
    if (value == 2.25f) logits.view().row_as<float>(8)[4000] = 3.0f;  // lost in the temperature
    EXPECT_TRUE(pair.step(logits, rows).empty());
    EXPECT_LT(pair.actual()[1].output.token, 1501);  // 0.3 * 5003: the lower ids
    EXPECT_EQ(pair.actual()[2].output.token, 0);
    ASSERT_EQ(pair.actual()[5].output.top_logprobs.size(), 20u);
    for (int32_t n = 0; n < 20; ++n)
      EXPECT_EQ(pair.actual()[5].output.top_logprobs[static_cast<size_t>(n)].token, n);
  }
}

TEST_F(Sample, TinyAndHugeTemperatures) {
  constexpr int64_t kVocab = 1000;
  const double temperatures[] = {1e-300, 1e-40, 1e-6, 0.01, 50.0, 1e6, 1e38, 1e300};
  SamplerPair pair(backend(), stream(), 8, kVocab);
  std::vector<Sampler::Row> rows;
  for (int64_t i = 0; i < 8; ++i) {
    Request request;
    request.params.temperature = temperatures[i];
    request.seed = random_();
    request.prompt = {0};
    pair.admit(i, request);
    rows.push_back({i, i});
  }
  for (int step = 0; step < 5; ++step)
    EXPECT_LE(pair.step(any_logits(DType::kF32, 8, kVocab), rows).size(), 1u);
}

TEST_F(Sample, ABrokenRowIsAnErrorOfThatRowOnly) {
  constexpr int64_t kVocab = 1000, kSlots = 6;
  SamplerPair pair(backend(), stream(), kSlots, kVocab);
  std::vector<Sampler::Row> rows;
  for (int64_t i = 0; i < kSlots; ++i) {
    Request request;
    request.prompt = {1};
    if (i == 1) request.params.temperature = 1.0;
    if (i == 2) request.params.logit_bias = {{3, 1.0f}};
    if (i == 3) request.params.logprobs = 2;
    if (i == 4) request.params.bad_words = {{7}};
    if (i == 5) request.params.frequency_penalty = 1.0;
    pair.admit(i, request);
    rows.push_back({i, i});
  }
  const auto expect_errors = [&](const Tensor& logits, const std::vector<Sampler::Row>& some) {
    EXPECT_TRUE(pair.step(logits, some).empty());
    for (size_t i = 0; i < some.size(); ++i)
      EXPECT_EQ(pair.actual()[i].error.empty(), some[i].row % 2 == 0) << i;
  };
  for (float broken : {std::nanf(""), -std::nanf(""), kInfinity})
    for (int64_t at : {0, 500, 999}) {
      const Tensor logits = any_logits(DType::kF32, kSlots, kVocab);
      for (int64_t r = 1; r < kSlots; r += 2) store_float(logits, r, at, broken);
      expect_errors(logits, rows);
    }
  const Tensor forbidden = any_logits(DType::kF32, kSlots, kVocab);
  for (int64_t r = 1; r < kSlots; r += 2)
    for (int64_t i = 0; i < kVocab; ++i) store_float(forbidden, r, i, -kInfinity);
  expect_errors(forbidden, rows);
  // Two rows of greedy slots alone: the cheaper kernel.
  const std::vector<Sampler::Row> greedy = {{1, 0}};
  expect_errors(forbidden, greedy);
  store_float(forbidden, 1, 300, std::nanf(""));
  expect_errors(forbidden, greedy);
}

TEST_F(Sample, GreedyRowsAlone) {
  for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16})
    for (int64_t vocab : {1, 40, 50257, 128256}) {
      SCOPED_TRACE(format("{} vocabulary {}", dtype_name(dtype), vocab));
      for (int64_t count : {1, 9}) {
        SamplerPair pair(backend(), stream(), count, vocab);
        std::vector<Sampler::Row> rows;
        for (int64_t i = 0; i < count; ++i) {
          pair.admit(i, {.prompt = {0}});
          rows.push_back({count - 1 - i, i});
        }
        for (int step = 0; step < 2; ++step)
          EXPECT_TRUE(pair.step(any_logits(dtype, count, vocab), rows).empty());
      }
    }
}

// One row gets a team of another size than each of many, and the sums are the same.
TEST_F(Sample, ARowDoesNotDependOnItsNeighbours) {
  constexpr int64_t kVocab = 50264, kSlots = 70;
  for (DType dtype : {DType::kBF16, DType::kF32}) {
    DeviceSampler together(
        backend(), {.slots = kSlots, .vocab_size = kVocab, .max_rows = kSlots, .max_length = 4096});
    DeviceSampler alone(backend(),
                        {.slots = kSlots, .vocab_size = kVocab, .max_rows = 1, .max_length = 4096});
    std::vector<Sampler::Row> rows;
    for (int64_t i = 0; i < kSlots; ++i) {
      const Request request = any_request(kVocab);
      for (DeviceSampler* sampler : {&together, &alone})
        sampler->admit(i, request.params, request.seed, request.prompt, request.end_ids);
      rows.push_back({i, i});
    }
    std::vector<SampledToken> expected, actual;
    for (int step = 0; step < 2; ++step) {
      const DeviceTensor logits = on_device(any_logits(dtype, kSlots, kVocab));
      together.launch(stream(), logits, rows);
      together.collect(expected);
      for (int64_t i = 0; i < kSlots; ++i) {
        const Sampler::Row row{0, i};
        alone.launch(stream(), logits.view().slice(0, i, i + 1), {&row, 1});
        alone.collect(actual);
        const SampledToken& other = expected[static_cast<size_t>(i)];
        EXPECT_EQ(actual[0].output.token, other.output.token) << i;
        EXPECT_EQ(actual[0].output.logprob, other.output.logprob) << i;
      }
    }
  }
}

TEST_F(Sample, TwoLaunchesUnderWayAndTokensBySlot) {
  constexpr int64_t kVocab = 1000, kSlots = 5;
  DeviceSampler sampler(backend(),
                        {.slots = kSlots, .vocab_size = kVocab, .max_rows = 8, .max_length = 100});
  Sampler host(kSlots, kVocab);
  std::vector<Sampler::Row> rows;
  const std::vector<int32_t> prompt = {1, 2, 3};
  for (int64_t i = 0; i < kSlots; ++i) {
    SamplingParams params;
    params.temperature = i == 2 ? 0.0 : 1.0;
    params.repetition_penalty = 1.3;
    sampler.admit(i, params, static_cast<uint64_t>(i), prompt, {});
    host.admit(i, params, static_cast<uint64_t>(i), prompt, {});
    rows.push_back({i, kSlots - 1 - i});
  }
  const Tensor first = any_logits(DType::kF32, 8, kVocab),
               second = any_logits(DType::kF32, 8, kVocab);
  const DeviceTensor device_first = on_device(first), device_second = on_device(second);
  sampler.launch(stream(), device_first, rows);
  sampler.launch(stream(), device_second, rows);
  std::vector<SampledToken> actual, expected;
  for (const Tensor* logits : {&first, &second}) {
    sampler.collect(actual);
    host.sample(logits->view(), rows, expected);
    for (size_t i = 0; i < rows.size(); ++i)
      EXPECT_EQ(actual[i].output.token, expected[i].output.token) << i;
  }
  std::vector<int32_t> by_slot(kSlots);
  backend().copy_to_host(by_slot.data(), sampler.sampled().data, kSlots * sizeof(int32_t));
  for (size_t i = 0; i < rows.size(); ++i)
    EXPECT_EQ(by_slot[static_cast<size_t>(rows[i].slot)], actual[i].output.token);
}

// More admissions at once than one copy holds, with prompts as long as they may be, and long lists.
TEST_F(Sample, ManyAndLongAdmissions) {
  constexpr int64_t kVocab = 50000, kSlots = 24;
  SamplerPair pair(backend(), stream(), kSlots, kVocab);
  for (int round = 0; round < 2; ++round) {
    std::vector<Sampler::Row> rows;
    for (int64_t i = 0; i < kSlots; ++i) {
      Request request;
      request.prompt = any_tokens(4096, kVocab);
      request.params.repetition_penalty = 1.4;
      for (int32_t token = 0; token < 1000; ++token)
        request.params.logit_bias.emplace_back(token * 31, 2.0f);
      for (int32_t token = 0; token < 500; ++token)
        request.params.bad_words.push_back({request.prompt.back(), token * 31 + 7});
      pair.admit(i, request);
      rows.push_back({i, i});
    }
    for (int step = 0; step < 2; ++step)
      EXPECT_TRUE(pair.step(any_logits(DType::kF32, kSlots, kVocab), rows).empty());
    for (int64_t i = 0; i < kSlots; ++i) pair.release(i);
  }
}

}  // namespace
}  // namespace brayton::cuda
