// Every family's tiny checkpoint, from its folder and as a GGUF file, gives the logits, likelihoods
// and greedy tokens of the original implementation: each prompt alone, in one ragged batch, whole
// and in chunks.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <future>

#include "tests/golden.h"

namespace brayton {
namespace {

// Share of the logits' range that float32 runs may be apart.
constexpr double kLogitTolerance = 2e-4;

// Paths of checkpoints, relative to the data.
std::vector<std::string> checkpoints() {
  std::vector<std::string> names;
  for (const std::string folder : {"families", "families_gguf"})
    for (const auto& entry : std::filesystem::directory_iterator(data_path(folder)))
      names.push_back(folder + "/" + entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

std::string family_of(const std::string& checkpoint) {
  return std::filesystem::path(checkpoint).stem();
}

LLM load(const std::string& checkpoint, int64_t max_num_tokens) {
  LoadOptions options;
  options.device = "cpu";
  options.dtype = DType::kF32;
  options.threads = 2;
  options.max_num_tokens = max_num_tokens;
  options.max_batch_size = 8;
  options.kv_block_size = 16;
  return LLM(data_path(checkpoint), options);
}

class Family : public testing::TestWithParam<std::string> {};

void expect_score(LLM& llm, const Json& expected) {
  const auto ids = expected["ids"].get<std::vector<int32_t>>();
  SCOPED_TRACE(testing::Message() << ids.size() << " ids");
  const Score score = llm.score(ids);
  const auto logits = expected["last_logits"].get<std::vector<float>>();
  ASSERT_EQ(score.last_logits.size(), logits.size());
  const auto [low, high] = std::minmax_element(logits.begin(), logits.end());
  const double tolerance = kLogitTolerance * (*high - *low);
  for (size_t i = 0; i < logits.size(); ++i)
    ASSERT_NEAR(score.last_logits[i], logits[i], tolerance) << "logit " << i;
  const auto nll = expected["nll"].get<std::vector<float>>();
  ASSERT_EQ(score.nll.size(), nll.size());
  for (size_t i = 0; i < nll.size(); ++i) ASSERT_NEAR(score.nll[i], nll[i], tolerance) << i;
}

TEST_P(Family, AnswersLikeTheOriginal) {
  const Json golden = read_golden("families/" + family_of(GetParam()));
  for (const int64_t chunk : {512, 16}) {
    SCOPED_TRACE(testing::Message() << "at most " << chunk << " tokens a step");
    LLM llm = load(GetParam(), chunk);
    std::vector<std::future<Completion>> together;
    for (const Json& expected : golden["cases"]) {
      expect_score(llm, expected);
      together.push_back(std::async(std::launch::async, [&] {
        return llm.generate(expected["ids"].get<std::vector<int32_t>>(),
                            greedy(static_cast<int64_t>(expected["greedy"].size())));
      }));
    }
    for (size_t i = 0; i < together.size(); ++i)
      EXPECT_EQ(token_ids(together[i].get().tokens),
                golden["cases"][i]["greedy"].get<std::vector<int32_t>>())
          << "case " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Tiny, Family, testing::ValuesIn(checkpoints()), [](const auto& info) {
  return family_of(info.param) + (info.param.ends_with(".gguf") ? "_gguf" : "");
});

}  // namespace
}  // namespace brayton
