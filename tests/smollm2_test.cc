// SmolLM2-135M-Instruct, Q4_1 in a GGUF: the template, tokens and likelihoods of Transformers. In
// float32 and with activations rounded to integers the greedy tokens are equal up to the first step
// whose margin is under the run's own logit error.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "tests/golden.h"

namespace brayton {
namespace {

LLM load(std::optional<DType> dtype) {
  if (!std::filesystem::exists(BRAYTON_SMOLLM2))
    throw Error(ErrorCode::kEnvironment,
                "'" BRAYTON_SMOLLM2 "' is missing; scripts/fetch-model.sh fetches it");
  LoadOptions options;
  options.device = "cpu";
  options.dtype = dtype;
  options.threads = 2;
  return LLM(BRAYTON_SMOLLM2, options);
}

// Greatest distance from the oracle's log-probabilities over its 32 best tokens. Logits themselves
// are not in the golden file; the distance between two of them is that of their log-probabilities.
double logprob_error(const TokenOutput& first, const Json& expected) {
  double error = 0;
  for (size_t i = 0; i < expected["top32_ids"].size(); ++i)
    for (const TokenLogprob& got : first.top_logprobs)
      if (got.token == expected["top32_ids"][i].get<int32_t>())
        error = std::max<double>(
            error, std::abs(got.logprob - expected["top32_logprobs"][i].get<float>()));
  return error;
}

void expect_greedy(const Completion& completion, const Json& expected, double margin) {
  const auto ids = expected["greedy64"].get<std::vector<int32_t>>();
  const auto margins = expected["greedy_margin"].get<std::vector<double>>();
  const auto got = token_ids(completion.tokens);
  ASSERT_LE(ids.size(), got.size());
  for (size_t i = 0; i < ids.size() && margins[i] >= margin; ++i)
    ASSERT_EQ(got[i], ids[i]) << "step " << i << ", margin " << margins[i] << ", error " << margin;
}

void check_all(LLM& llm, double allowed_error) {
  const Json golden = read_golden("smollm2");
  double worst = 0;
  for (const char* kind : {"cases", "chat"})
    for (const Json& expected : golden[kind]) {
      SamplingParams params = greedy(static_cast<int64_t>(expected["greedy64"].size()));
      params.logprobs = 64;
      const auto prompt = expected["ids"].get<std::vector<int32_t>>();
      const Completion completion = llm.generate(prompt, params);
      const double error = logprob_error(completion.tokens.at(0), expected);
      worst = std::max(worst, error);
      expect_greedy(completion, expected, 2 * error);
    }
  std::printf("worst log-probability error %.5f\n", worst);
  EXPECT_LT(worst, allowed_error);
}

TEST(SmolLM2, PromptsAndChatsTokenizeLikeTransformers) {
  LLM llm = load(std::nullopt);
  const Json golden = read_golden("smollm2");
  for (const Json& expected : golden["cases"])
    EXPECT_EQ(llm.encode(expected["prompt"].get<std::string>()),
              expected["ids"].get<std::vector<int32_t>>());
  for (const Json& expected : golden["chat"]) {
    std::vector<ChatMessage> messages;
    for (const Json& message : expected["messages"])
      messages.push_back(
          {message["role"].get<std::string>(), message["content"].get<std::string>()});
    const std::string rendered = llm.apply_chat_template(messages);
    EXPECT_EQ(rendered, expected["rendered"].get<std::string>());
    EXPECT_EQ(llm.encode(rendered, false), expected["ids"].get<std::vector<int32_t>>());
  }
}

TEST(SmolLM2, ExactInFloat32) {
  LLM llm = load(DType::kF32);
  check_all(llm, 1e-3);
}

TEST(SmolLM2, CloseWithActivationsInIntegers) {
  LLM llm = load(std::nullopt);
  check_all(llm, 0.05);
}

TEST(SmolLM2, LikelihoodOfWikitext) {
  LLM llm = load(std::nullopt);
  const Json golden = read_golden("smollm2")["nll"];
  std::string text = read_text_file(data_path("text/wikitext2/wiki.test.raw")).substr(0, 20000);
  std::vector<int32_t> ids = llm.encode(text);
  ids.resize(2048);
  double sum = 0;
  for (int window = 0; window < 4; ++window) {
    const auto first = ids.begin() + window * 512;
    double of_window = 0;
    for (float nll : llm.score({first, first + 512}).nll) of_window += nll;
    sum += of_window / 511;
    EXPECT_NEAR(of_window / 511, golden["windows"][window].get<double>(), 0.01);
  }
  const double mean = golden["mean"].get<double>();
  std::printf("mean NLL %.5f, golden %.5f, apart %.3f %%\n", sum / 4, mean,
              100 * (sum / 4 / mean - 1));
  EXPECT_NEAR(sum / 4, mean, 0.001 * mean);
}

}  // namespace
}  // namespace brayton
