#include <charconv>
#include <cstdlib>

#include "cli/options.h"
#include "core/format.h"

namespace brayton {
namespace {

std::pair<int32_t, float> parse_bias(const std::string& text) {
  const size_t colon = text.find(':');
  char* end = nullptr;
  const std::string value = colon == std::string::npos ? "" : text.substr(colon + 1);
  const float bias = std::strtof(value.c_str(), &end);
  if (value.empty() || *end != '\0')
    throw_error(ErrorCode::kInvalidArgument,
                "[command line] --logit-bias must be ID:VALUE, got '{}'", text);
  return {parse_ids(text.substr(0, colon), "--logit-bias").front(), bias};
}

}  // namespace

void add_sampling_options(CLI::App& command, SamplingParams& p) {
  const auto group = command.add_option_group("Sampling", "how tokens are drawn");
  group->add_option("--max-tokens", p.max_tokens, "most tokens to generate")->capture_default_str();
  group->add_option("--min-tokens", p.min_tokens, "no end before so many tokens");
  group->add_option("--temperature", p.temperature, "0: always the most likely token");
  group->add_option("--top-k", p.top_k, "only the K most likely tokens (0: all)");
  group->add_option("--top-p", p.top_p, "only the most likely tokens that hold this probability");
  group->add_option("--min-p", p.min_p,
                    "only tokens with this share of the best one's probability");
  group->add_option("--typical-p", p.typical_p, "only the most typical tokens of this probability");
  group->add_option("--repetition-penalty", p.repetition_penalty, "above 1: repeat less");
  group->add_option("--presence-penalty", p.presence_penalty,
                    "subtracted from tokens already there");
  group->add_option("--frequency-penalty", p.frequency_penalty, "subtracted per occurrence");
  group->add_option("--seed", p.seed, "same seed, same text");
  group->add_option("--logprobs", p.logprobs,
                    "log-probabilities of the tokens and of the N most likely (with --json)");
  group->add_option("--stop", p.stop, "end the text before this string; may be repeated")
      ->type_name("TEXT")
      ->allow_extra_args(false);
  group
      ->add_option_function<std::string>(
          "--stop-token-ids",
          [&p](const std::string& ids) { p.stop_token_ids = parse_ids(ids, "--stop-token-ids"); },
          "end at one of these token ids: 1,2,3")
      ->type_name("IDS");
  group
      ->add_option_function<std::vector<std::string>>(
          "--logit-bias",
          [&p](const std::vector<std::string>& all) {
            for (const std::string& one : all) p.logit_bias.push_back(parse_bias(one));
          },
          "add to a token's logit, as ID:VALUE; may be repeated")
      ->type_name("ID:VALUE")
      ->allow_extra_args(false);
  group->add_flag("--ignore-eos", p.ignore_eos, "go on after the model's end token");
}

std::vector<int32_t> parse_ids(const std::string& text, const std::string& option) {
  std::vector<int32_t> ids;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (true) {
    while (at < end && *at == ' ') ++at;
    int32_t id = 0;
    const auto [next, fault] = std::from_chars(at, end, id);
    if (fault != std::errc())
      throw_error(ErrorCode::kInvalidArgument, "[command line] {} must be ids like 1,2,3, got '{}'",
                  option, text);
    ids.push_back(id);
    if (next == end) return ids;
    if (*next != ',')
      throw_error(ErrorCode::kInvalidArgument, "[command line] {} must be ids like 1,2,3, got '{}'",
                  option, text);
    at = next + 1;
  }
}

}  // namespace brayton
