// Requests reach the device as it reads them, in as few copies as there is room for; its results
// come back row by row; what it has no room for is refused with a message.
#include "sampling/device_sampler.h"

#include <algorithm>
#include <deque>

#include "ops/admit_slots.h"
#include "testing/op_test.h"

namespace brayton {
namespace {

using testing::error_of;
using testing::Tensor;

struct Admitted {
  SampleParams params;
  SampleState state;
  std::vector<int32_t> rules, prompt;
};

// What the device was told. Its memory is the host's; its only token is the row's number.
struct Device {
  int copies_of_admissions = 0;
  std::deque<std::pair<int64_t, Admitted>> admitted;
  std::vector<std::vector<int32_t>> slots;
  std::vector<SampleMode> modes;
  SampleError error = SampleError::kNone;
};
Device* device = nullptr;  // a kernel is a plain function

void admit_slots(Stream&, const AdmitSlotsArgs& args) {
  check(args);
  ++device->copies_of_admissions;
  const auto* packed = args.packed.as<int32_t>();
  for (int64_t i = 0; i < args.count; ++i) {
    const int32_t* record = packed + packed[i];
    Admitted a;
    const int32_t* at = record + 3;
    std::memcpy(static_cast<void*>(&a.params), at, sizeof(a.params));
    at += sizeof(a.params) / 4;
    std::memcpy(static_cast<void*>(&a.state), at, sizeof(a.state));
    at += sizeof(a.state) / 4;
    a.rules.assign(at, at + record[1]);
    a.prompt.assign(at + record[1], at + record[1] + record[2]);
    device->admitted.emplace_back(record[0], a);
  }
}

void sample(Stream&, const SampleArgs& args) {
  check(args);
  const auto* slots = args.slots.as<int32_t>();
  device->slots.emplace_back(slots, slots + args.slots.dim(0));
  device->modes.push_back(args.mode);
  for (int64_t r = 0; r < args.slots.dim(0); ++r) {
    if (slots[r] < 0) continue;
    *args.rows.row_as<SampledRow>(r) = {static_cast<int32_t>(r), -1.5f, device->error};
    for (int32_t n = 0; n < kSampleTop; ++n) {
      args.top.row_as<SampledTop>(r)->tokens[n] = n + static_cast<int32_t>(r);
      args.top.row_as<SampledTop>(r)->logprobs[n] = static_cast<float>(-n);
    }
  }
}

class HostEvent final : public Event {
 public:
  void record() override {}
  void wait() override {}
  double seconds_since(const Event&) const override { return 0; }
};

class HostStream final : public Stream {
 public:
  void synchronize() override {}
  void copy_to_device(void* to, const void* from, size_t bytes) override {
    std::memcpy(to, from, bytes);
  }
  void copy_to_host(void* to, const void* from, size_t bytes) override {
    std::memcpy(to, from, bytes);
  }
  std::unique_ptr<Event> make_event() override { return std::make_unique<HostEvent>(); }
};

class FakeBackend final : public Backend {
 public:
  FakeBackend() {
    kernels_.sample = sample;
    kernels_.admit_slots = admit_slots;
  }
  std::string kind() const override { return "fake"; }
  std::string description() const override { return "fake"; }
  const KernelTable& kernels() const override { return kernels_; }
  std::unique_ptr<Stream> make_stream() override { return std::make_unique<HostStream>(); }
  Buffer allocate(size_t bytes) override {
    return Buffer(new std::byte[bytes](), bytes,
                  [](void* data) { delete[] static_cast<std::byte*>(data); });
  }
  Buffer allocate_pinned(size_t bytes) override { return allocate(bytes); }
  int64_t free_bytes() const override { return 0; }
  void copy_to_device(void* to, const void* from, size_t bytes) override {
    std::memcpy(to, from, bytes);
  }
  void copy_to_host(void* to, const void* from, size_t bytes) override {
    std::memcpy(to, from, bytes);
  }
  bool shares_host_memory() const override { return true; }
  std::vector<std::string> linear_tactics(const LinearDesc&) const override { return {}; }
  std::unique_ptr<PackedWeight> pack_linear(Stream&, const TensorView&,
                                            const std::string&) override {
    return nullptr;
  }
  int64_t packed_bytes(const LinearDesc&, const std::string&) const override { return 0; }
  double measure_read_bandwidth() override { return 0; }
  DType activation_dtype(DType nominal) const override { return nominal; }
  DType table_dtype(DType stored, DType) const override { return stored; }

 private:
  KernelTable kernels_;
};

class DeviceSamplerTest : public ::testing::Test {
 protected:
  DeviceSamplerTest() { device = &device_; }
  ~DeviceSamplerTest() override { device = nullptr; }

  static constexpr int64_t kSlots = 4, kVocab = 100;
  void admit(int64_t slot, const SamplingParams& params,
             const std::vector<int32_t>& prompt = {3, 1, 3},
             const std::vector<int32_t>& end_ids = {}) {
    sampler_.admit(slot, params, 77, prompt, end_ids);
  }
  void launch(const std::vector<Sampler::Row>& rows) { sampler_.launch(stream_, logits_, rows); }
  std::vector<SampledToken> collect() {
    std::vector<SampledToken> outputs;
    sampler_.collect(outputs);
    return outputs;
  }

  Device device_;
  FakeBackend backend_;
  HostStream stream_;
  Tensor logits_{DType::kBF16, {8, kVocab}};
  DeviceSampler sampler_{backend_,
                         {.slots = kSlots, .vocab_size = kVocab, .max_rows = 8, .max_length = 50}};
};

TEST_F(DeviceSamplerTest, ParametersAndHistory) {
  SamplingParams params;
  params.temperature = 0.5;
  params.top_k = int64_t{1} << 40;
  params.top_p = 0.9;
  params.repetition_penalty = 1.25;
  params.min_tokens = 2;
  params.logit_bias = {{9, 1.0f}, {2, -1.0f}, {9, 3.0f}};
  params.bad_words = {{5}, {6, 7}};
  admit(2, params, {3, 1, 3}, {8});
  launch({{0, 2}});
  ASSERT_EQ(device_.admitted.size(), 1u);
  EXPECT_EQ(device_.admitted[0].first, 2);
  const Admitted& a = device_.admitted[0].second;
  EXPECT_EQ(a.params.scale, 2.0f);
  EXPECT_EQ(a.params.greedy, 0);
  EXPECT_EQ(a.params.top_k, std::numeric_limits<int32_t>::max());
  EXPECT_EQ(a.params.top_p, 0.9);
  EXPECT_EQ(a.params.seed, 77u);
  EXPECT_EQ(a.params.penalties, 1);
  const auto bits = [](float x) { return std::bit_cast<int32_t>(x); };
  EXPECT_EQ(a.rules, (std::vector<int32_t>{2, 9, 9, bits(-1), bits(1), bits(3), 1, 3, 5, 6, 7, 8}));
  EXPECT_EQ(a.params.biases, 3);
  EXPECT_EQ(a.params.bad_words, 2);
  EXPECT_EQ(a.params.bad_word_tokens, 3);
  EXPECT_EQ(a.params.end_ids, 1);
  EXPECT_EQ(a.prompt, (std::vector<int32_t>{1, 3}));
  EXPECT_EQ(a.state.generated, 0);
  EXPECT_EQ(a.state.recent[kSampleRecent - 4], -1);
  EXPECT_EQ(a.state.recent[kSampleRecent - 3], 3);
  EXPECT_EQ(a.state.recent[kSampleRecent - 1], 3);
}

TEST_F(DeviceSamplerTest, ExtremeTemperaturesHaveFiniteScales) {
  SamplingParams params;
  params.temperature = 1e-300;
  admit(0, params);
  params.temperature = 1e300;
  admit(1, params);
  launch({});
  EXPECT_EQ(device_.admitted[0].second.params.scale, 1e30f);
  EXPECT_EQ(device_.admitted[1].second.params.scale, std::numeric_limits<float>::min());
}

TEST_F(DeviceSamplerTest, AdmissionsSinceTheLastLaunchTakeOneCopy) {
  for (int64_t slot = 0; slot < kSlots; ++slot) admit(slot, {});
  EXPECT_EQ(device_.copies_of_admissions, 0);
  launch({{0, 0}});
  EXPECT_EQ(device_.copies_of_admissions, 1);
  EXPECT_EQ(device_.admitted.size(), 4u);
  collect();
  launch({{0, 1}});
  EXPECT_EQ(device_.copies_of_admissions, 1);
}

TEST_F(DeviceSamplerTest, MoreThanOneCopyHoldsTakesSeveral) {
  constexpr int64_t kMany = 64;
  DeviceSampler many(backend_,
                     {.slots = kMany, .vocab_size = kVocab, .max_rows = 8, .max_length = 50});
  SamplingParams params;
  params.logit_bias.assign(kSampleRules / 2, {1, 1.0f});
  for (int64_t slot = 0; slot < kMany; ++slot) {
    params.min_tokens = slot;
    many.admit(slot, params, 0, {}, {});
  }
  many.launch(stream_, logits_, {});
  EXPECT_GT(device_.copies_of_admissions, 2);
  ASSERT_EQ(device_.admitted.size(), static_cast<size_t>(kMany));
  for (int64_t slot = 0; slot < kMany; ++slot) {
    EXPECT_EQ(device_.admitted[static_cast<size_t>(slot)].first, slot);
    EXPECT_EQ(device_.admitted[static_cast<size_t>(slot)].second.params.min_tokens, slot);
    EXPECT_EQ(device_.admitted[static_cast<size_t>(slot)].second.rules.size(),
              static_cast<size_t>(kSampleRules));
  }
}

TEST_F(DeviceSamplerTest, TheCheaperModeOnlyWhereEveryRowIsPlain) {
  SamplingParams warm;
  warm.temperature = 1.0;
  SamplingParams with_logprobs;
  with_logprobs.logprobs = 0;
  SamplingParams with_penalty;
  with_penalty.presence_penalty = 0.5;
  admit(0, {});
  admit(1, warm);
  admit(2, with_logprobs);
  admit(3, with_penalty);
  launch({{0, 0}});
  EXPECT_EQ(device_.modes.back(), SampleMode::kGreedy);
  collect();
  for (int64_t slot = 1; slot < kSlots; ++slot) {
    launch({{0, 0}, {1, slot}});
    EXPECT_EQ(device_.modes.back(), SampleMode::kFull) << slot;
    collect();
  }
}

TEST_F(DeviceSamplerTest, ResultsComeBackInTheOrderOfTheRows) {
  SamplingParams two;
  two.logprobs = 2;
  admit(0, two);
  admit(3, {});
  launch({{5, 0}, {2, 3}});
  EXPECT_EQ(device_.slots[0], (std::vector<int32_t>{-1, -1, 3, -1, -1, 0}));
  EXPECT_EQ(device_.modes[0], SampleMode::kFull);
  launch({{0, 3}});
  EXPECT_EQ(device_.modes[1], SampleMode::kGreedy);
  auto outputs = collect();
  ASSERT_EQ(outputs.size(), 2u);
  EXPECT_EQ(outputs[0].output.token, 5);
  EXPECT_EQ(outputs[0].output.logprob, -1.5f);
  ASSERT_EQ(outputs[0].output.top_logprobs.size(), 2u);
  EXPECT_EQ(outputs[0].output.top_logprobs[1].token, 6);
  EXPECT_EQ(outputs[0].output.top_logprobs[1].logprob, -1.0f);
  EXPECT_EQ(outputs[1].output.token, 2);
  EXPECT_TRUE(outputs[1].output.top_logprobs.empty());
  outputs = collect();
  ASSERT_EQ(outputs.size(), 1u);
  EXPECT_EQ(outputs[0].output.token, 0);
}

TEST_F(DeviceSamplerTest, ErrorsAreSamplers) {
  admit(0, {});
  const std::pair<SampleError, const char*> cases[] = {
      {SampleError::kInvalidLogits,
       "[sampler] logits must not be NaN or +infinity: the model gave such values"},
      {SampleError::kAllForbidden,
       "[sampler] at least one token must be allowed: bad_words and min_tokens forbid all that "
       "the model offers"},
      {SampleError::kNone, ""}};
  for (const auto& [error, text] : cases) {
    device_.error = error;
    launch({{0, 0}});
    EXPECT_EQ(collect()[0].error, text);
  }
}

TEST_F(DeviceSamplerTest, LimitsAreRefusedWithAMessage) {
  SamplingParams params;
  params.logprobs = 33;
  EXPECT_EQ(error_of([&] { DeviceSampler::check_limits(params, 0); }),
            "[request] logprobs must be at most 32 on a GPU, got 33");
  params = {};
  params.bad_words = {std::vector<int32_t>(34, 1)};
  EXPECT_EQ(error_of([&] { DeviceSampler::check_limits(params, 0); }),
            "[request] the ids of a bad word must be at most 33 on a GPU, got 34");
  params = {};
  params.bad_words.assign(1000, {1});
  EXPECT_EQ(
      error_of([&] { DeviceSampler::check_limits(params, 25); }),
      "[request] the number of bad_words and end ids must be at most 1024 on a GPU, got 1025");
  params = {};
  params.logit_bias.assign(2049, {1, 1.0f});
  EXPECT_EQ(error_of([&] { admit(0, params); }),
            "[request] the size of logit_bias (2 each), bad_words (1 and their ids) and end ids "
            "must be at most 4096 on a GPU, got 4098");
}

TEST_F(DeviceSamplerTest, MemoryIsKnownBeforehand) {
  const DeviceSampler::Options options{
      .slots = 256, .vocab_size = 128256, .max_rows = 256, .max_length = 8192};
  const int64_t bytes = DeviceSampler::device_bytes(options);
  EXPECT_GT(bytes, 256 * 128256 * 2);
  EXPECT_LT(bytes, 256 * 128256 * 2 + (8 << 20));
}

}  // namespace
}  // namespace brayton
