// A program answers the same however its tokens are cut into steps and its cache into blocks, and
// refuses a step that does not fit before anything runs.
#include "program/program.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "backends/cpu/cpu_backend.h"
#include "brayton/error.h"
#include "builder/builder.h"
#include "tests/golden.h"

namespace brayton {
namespace {

class ProgramTest : public testing::Test {
 protected:
  std::unique_ptr<Program> load(const ProgramOptions& options) {
    BuiltModel model =
        build_model(data_path("families/llama2_gqa"), *backend_, {.dtype = DType::kF32});
    return Program::load(std::make_shared<const Engine>(std::move(model.engine)), *backend_,
                         options);
  }

  std::unique_ptr<Backend> backend_ = make_cpu_backend({.threads = 2});
};

ProgramOptions small_options() {
  return {.max_tokens = 64,
          .max_sequences = 4,
          .max_logit_rows = 64,
          .kv_block_size = 4,
          .kv_blocks = 32};
}

// `count` tokens of one sequence on top of `cached`, in blocks that begin at `first_block`.
StepInputs step_of(const std::vector<int32_t>& ids, int64_t cached, int64_t count,
                   int64_t block_size, int32_t first_block, int64_t blocks) {
  StepInputs step;
  for (int64_t i = cached; i < cached + count; ++i) {
    step.token_ids.push_back(ids[i]);
    step.positions.push_back(static_cast<int32_t>(i));
    step.logit_rows.push_back(static_cast<int32_t>(i - cached));
  }
  step.query_offsets = {0, static_cast<int32_t>(count)};
  step.kv_lengths = {static_cast<int32_t>(cached + count)};
  step.max_blocks = blocks;
  for (int32_t block = 0; block < blocks; ++block)
    // Backwards: the order of blocks must not matter.
    step.block_table.push_back(first_block + static_cast<int32_t>(blocks) - 1 - block);
  EXPECT_GE(blocks * block_size, cached + count);
  return step;
}

std::vector<float> rows_of(const TensorView& logits) {
  return {logits.as<float>(), logits.as<float>() + logits.elements()};
}

const std::vector<int32_t> kIds = {11, 7, 200, 3, 45, 99, 1, 250, 17, 64, 5, 128, 77};

TEST_F(ProgramTest, StepsAndBlocksDoNotChangeTheLogits) {
  const auto count = static_cast<int64_t>(kIds.size());
  const std::vector<float> whole =
      rows_of(load(small_options())->run(step_of(kIds, 0, count, 4, 0, 4)));
  for (const int64_t block_size : {1, 3, 16}) {
    ProgramOptions options = small_options();
    options.kv_block_size = block_size;
    const auto program = load(options);
    for (const int64_t chunk : {1, 5}) {
      SCOPED_TRACE(testing::Message() << "blocks of " << block_size << ", steps of " << chunk);
      std::vector<float> pieces;
      for (int64_t at = 0; at < count; at += chunk) {
        const auto rows =
            rows_of(program->run(step_of(kIds, at, std::min(chunk, count - at), block_size, 7,
                                         (count + block_size - 1) / block_size)));
        pieces.insert(pieces.end(), rows.begin(), rows.end());
      }
      EXPECT_EQ(pieces, whole);
    }
  }
}

TEST_F(ProgramTest, SequencesOfOneStepDoNotMeet) {
  const auto program = load(small_options());
  const std::vector<int32_t> other = {250, 249, 248};
  const std::vector<float> alone = rows_of(program->run(step_of(kIds, 0, 8, 4, 0, 2)));
  StepInputs both = step_of(other, 0, 3, 4, 20, 2);
  const StepInputs second = step_of(kIds, 0, 8, 4, 4, 2);
  both.token_ids.insert(both.token_ids.end(), second.token_ids.begin(), second.token_ids.end());
  both.positions.insert(both.positions.end(), second.positions.begin(), second.positions.end());
  both.query_offsets = {0, 3, 11};
  both.kv_lengths = {3, 8};
  both.block_table.insert(both.block_table.end(), second.block_table.begin(),
                          second.block_table.end());
  both.logit_rows = {3, 4, 5, 6, 7, 8, 9, 10};
  EXPECT_EQ(rows_of(program->run(both)), alone);
}

TEST_F(ProgramTest, AStepWithoutLogitsOnlyFillsTheCache) {
  const auto program = load(small_options());
  const std::vector<float> whole = rows_of(program->run(step_of(kIds, 0, 8, 4, 0, 2)));
  StepInputs first = step_of(kIds, 0, 7, 4, 10, 2);
  first.logit_rows.clear();
  EXPECT_EQ(program->run(first).dim(0), 0);
  const std::vector<float> last = rows_of(program->run(step_of(kIds, 7, 1, 4, 10, 2)));
  EXPECT_EQ(last, std::vector<float>(whole.end() - 256, whole.end()));
}

TEST_F(ProgramTest, AStepThatDoesNotFitIsRefusedByName) {
  const auto program = load(small_options());
  const auto message = [&](const std::function<void(StepInputs&)>& damage) {
    StepInputs step = step_of(kIds, 0, 8, 4, 0, 2);
    damage(step);
    try {
      program->run(step);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EXPECT_EQ(message([](StepInputs& s) { s.token_ids[2] = 256; }),
            "[step] token id must be in [0, 255], got 256");
  EXPECT_EQ(message([](StepInputs& s) { s.block_table[1] = 32; }),
            "[step] block must be in [0, 31], got 32");
  EXPECT_EQ(message([](StepInputs& s) { s.block_table[0] = -1; }),
            "[step] block must be in [0, 31], got -1");
  EXPECT_EQ(message([](StepInputs& s) { s.kv_lengths[0] = 9; }),
            "[step] kv length must be in [8, 8], got 9");
  EXPECT_EQ(message([](StepInputs& s) { s.positions[3] = 9; }),
            "[step] position must be in [3, 3], got 9");
  EXPECT_EQ(message([](StepInputs& s) { s.logit_rows[0] = 8; }),
            "[step] logit row must be in [0, 7], got 8");
  EXPECT_EQ(message([](StepInputs& s) { s.query_offsets[1] = 7; }),
            "[step] last query offset must be in [8, 8], got 7");
  EXPECT_EQ(message([](StepInputs& s) { s.clear(); }), "[step] tokens must be in [1, 64], got 0");
}

TEST_F(ProgramTest, OptionsThatHoldNothingAreRefused) {
  ProgramOptions options = small_options();
  options.max_tokens = 0;
  EXPECT_THROW(load(options), Error);
  options = small_options();
  options.kv_blocks = 0;
  options.kv_bytes = 100;  // less than a block
  try {
    load(options);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("kv_bytes must be at least"), std::string::npos);
  }
}

TEST_F(ProgramTest, TheMemoryPlanIsKnownBeforeLoading) {
  const BuiltModel model =
      build_model(data_path("families/llama2_gqa"), *backend_, {.dtype = DType::kF32});
  const MemoryPlan plan = Program::plan_memory(model.engine, *backend_, small_options());
  // 2 layers, keys and values of 1 head of 64, 32 blocks of 4 tokens, float32.
  EXPECT_EQ(plan.kv, 2 * 2 * 64 * 32 * 4 * 4);
  EXPECT_GT(plan.weights, 0);
  EXPECT_LT(plan.activations, plan.activations_unshared);
  EXPECT_EQ(load(small_options())->memory().total(), plan.total());
}

}  // namespace
}  // namespace brayton
