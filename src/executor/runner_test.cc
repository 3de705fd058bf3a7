// A plan becomes the packed arrays that program/step.h describes.
#include "executor/runner.h"

#include <gtest/gtest.h>

#include "brayton/error.h"
#include "testing/fake_program.h"

namespace brayton {
namespace {

using Ints = std::vector<int32_t>;

ProgramOptions small_options() {
  return {.max_tokens = 16,
          .max_sequences = 4,
          .max_logit_rows = 8,
          .kv_block_size = 4,
          .kv_blocks = 16};
}

Sequence make_sequence(const Ints& tokens, int64_t prompt, int64_t computed, const Ints& blocks) {
  Sequence sequence;
  sequence.tokens = tokens;
  sequence.prompt_length = prompt;
  sequence.computed = computed;
  sequence.blocks = blocks;
  return sequence;
}

TEST(Runner, PacksDecodeTokensAChunkAndAScoredPrompt) {
  FakeProgram program(small_options());
  Runner runner(program);
  Sequence decode = make_sequence({5, 6, 7, 8, 9, 10}, 4, 5, {3, 9});
  Sequence chunk = make_sequence({20, 21, 22, 23, 24, 25, 26, 27, 28, 29}, 10, 2, {7, 1, 2});
  Sequence scored = make_sequence({30, 31}, 2, 0, {4});
  StepPlan plan;
  plan.scheduled = {{&decode, 1, 1}, {&chunk, 5, 0}, {&scored, 2, 2}};
  for (int round = 0; round < 2; ++round) {  // again: nothing is left of the step before
    runner.prepare(plan);
    const StepInputs& in = runner.inputs();
    EXPECT_EQ(in.token_ids, (Ints{10, 22, 23, 24, 25, 26, 30, 31}));
    EXPECT_EQ(in.positions, (Ints{5, 2, 3, 4, 5, 6, 0, 1}));
    EXPECT_EQ(in.query_offsets, (Ints{0, 1, 6, 8}));
    EXPECT_EQ(in.kv_lengths, (Ints{6, 7, 2}));
    EXPECT_EQ(in.max_blocks, 3);
    EXPECT_EQ(in.block_table, (Ints{3, 9, 0, 7, 1, 2, 4, 0, 0}));
    EXPECT_EQ(in.logit_rows, (Ints{0, 6, 7}));
  }
}

TEST(Runner, LogitsOfAnotherShapeAreABugOfTheProgram) {
  class Narrow : public FakeProgram {
   public:
    using FakeProgram::FakeProgram;
    TensorView host_logits() override {
      return FakeProgram::host_logits().reshape(Shape{kVocab, 1});
    }
  };
  Narrow program(small_options());
  Runner runner(program);
  Sequence sequence = make_sequence({1}, 1, 0, {0});
  StepPlan plan;
  plan.scheduled = {{&sequence, 1, 1}};
  runner.prepare(plan);
  runner.launch();
  EXPECT_THROW(runner.host_logits(), Error);
}

}  // namespace
}  // namespace brayton
