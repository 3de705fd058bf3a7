// sample and admit_slots say what is wrong with their arrays; a record holds what the device reads.
#include "ops/sample.h"

#include "ops/admit_slots.h"
#include "testing/op_test.h"

namespace brayton {
namespace {

using testing::error_of;
using testing::Tensor;

constexpr int64_t kRows = 3, kSlots = 5, kVocab = 50;

class SampleCheck : public ::testing::Test {
 protected:
  SampleArgs args() {
    return {.logits = logits_,
            .slots = slots_,
            .state = state(),
            .sampled = sampled_,
            .rows = rows_,
            .top = top_};
  }
  SampleSlots state() { return {params_, states_, rules_, marks_}; }
  static Tensor structs(int64_t count, size_t size) {
    return Tensor(DType::kU8, {count, static_cast<int64_t>(size)});
  }

  Tensor logits_{DType::kBF16, {kRows, kVocab}}, slots_{DType::kI32, {kRows}};
  Tensor sampled_{DType::kI32, {kSlots}};
  Tensor params_ = structs(kSlots, sizeof(SampleParams));
  Tensor states_ = structs(kSlots, sizeof(SampleState));
  Tensor rules_{DType::kI32, {kSlots, kSampleRules}}, marks_{DType::kU16, {kSlots, 56}};
  Tensor rows_ = structs(kRows, sizeof(SampledRow)), top_ = structs(kRows, sizeof(SampledTop));
};

TEST_F(SampleCheck, TakesWhatFits) {
  EXPECT_EQ(error_of([&] { check(args()); }), "");
  SampleArgs greedy = args();
  greedy.mode = SampleMode::kGreedy;
  greedy.top = {};
  EXPECT_EQ(error_of([&] { check(greedy); }), "");
}

TEST_F(SampleCheck, SaysWhatDoesNotFit) {
  const auto message = [&](auto change) {
    SampleArgs changed = args();
    change(changed);
    return error_of([&] { check(changed); });
  };
  const Tensor three(DType::kI32, {3}), short_marks(DType::kU16, {kSlots, 48});
  const Tensor large(DType::kBF16, {kRows, kSampleVocab + 1});
  EXPECT_EQ(message([](SampleArgs& a) { a.top = {}; }),
            "[sample] top must be [R, *], got no tensor");
  EXPECT_EQ(message([&](SampleArgs& a) { a.sampled = three; }),
            "[sample] params.slots must be 3, got 5");
  EXPECT_EQ(message([&](SampleArgs& a) { a.state.marks = short_marks; }),
            "[sample] marks must be 56 a slot, got 48");
  EXPECT_EQ(message([&](SampleArgs& a) { a.rows = a.top; }),
            "[sample] a row of rows must be 12 bytes, got 256");
  EXPECT_EQ(message([&](SampleArgs& a) { a.logits = large; }),
            "[sample] V must be at most what the op can hold 262144, got 262145");
}

TEST_F(SampleCheck, AdmissionsFitTheSlots) {
  const Tensor packed(DType::kI32, {100});
  AdmitSlotsArgs admissions{.packed = packed, .count = 2, .state = state(), .vocab = kVocab};
  EXPECT_EQ(error_of([&] { check(admissions); }), "");
  admissions.count = 6;
  EXPECT_EQ(error_of([&] { check(admissions); }),
            "[admit_slots] count must be at most the slots 5, got 6");
  admissions.count = 1;
  admissions.vocab = 57;
  EXPECT_EQ(error_of([&] { check(admissions); }),
            "[admit_slots] vocab must be at most the marks of a slot 56, got 57");
}

TEST(Admission, IsWrittenInTheOrderThatIsRead) {
  const std::vector<int32_t> rules = {7, 8, 9}, prompt = {1, 2};
  SlotAdmission admission;
  admission.slot = 4;
  admission.params.seed = 0x123456789abcdef0u;
  admission.state.generated = 6;
  admission.rules = rules;
  admission.prompt = prompt;
  std::vector<int32_t> words(static_cast<size_t>(admission_words(admission)), -1);
  write_admission(admission, words.data());
  EXPECT_EQ((std::vector<int32_t>(words.begin(), words.begin() + 3)),
            (std::vector<int32_t>{4, 3, 2}));
  SampleParams params;
  std::memcpy(static_cast<void*>(&params), words.data() + 3, sizeof(params));
  EXPECT_EQ(params.seed, admission.params.seed);
  EXPECT_EQ(words[3 + sizeof(SampleParams) / 4], 6);
  EXPECT_EQ((std::vector<int32_t>(words.end() - 5, words.end())),
            (std::vector<int32_t>{7, 8, 9, 1, 2}));
}

}  // namespace
}  // namespace brayton
