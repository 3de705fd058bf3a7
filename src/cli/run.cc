// brayton run MODEL: one completion, or a conversation on a terminal.
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <iterator>
#include <memory>

#include "cli/commands.h"
#include "cli/options.h"
#include "core/format.h"
#include "core/json.h"
#include "core/mapped_file.h"

namespace brayton {
namespace {

struct RunOptions {
  ModelOptions model;
  SamplingParams sampling;
  std::string prompt, prompt_file, prompt_ids, system;
  bool has_prompt = false;
  bool chat = false;
};

void print_figures(const LLM& llm, const Completion& completion) {
  std::fprintf(
      stderr,
      "\n[%zu prompt tokens, first token after %.0f ms, then %.1f tok/s; loaded in %.2f s; %s]\n",
      completion.prompt_token_ids.size(), completion.ttft_ms, completion.decode_tok_s,
      llm.load_seconds(), llm.device().c_str());
}

bool print_chunk(const TextChunk& chunk) {
  std::fwrite(chunk.text.data(), 1, chunk.text.size(), stdout);
  std::fflush(stdout);
  return true;
}

Json to_json(const LLM& llm, const Completion& completion, const SamplingParams& sampling) {
  Json ids = Json::array(), logprobs = Json::array();
  for (const TokenOutput& token : completion.tokens) {
    ids.push_back(token.token);
    if (sampling.logprobs < 0) continue;
    Json top = Json::array();
    for (const TokenLogprob& other : token.top_logprobs)
      top.push_back({{"token", other.token}, {"logprob", other.logprob}});
    logprobs.push_back({{"token", token.token}, {"logprob", token.logprob}, {"top", top}});
  }
  return {{"prompt_token_ids", completion.prompt_token_ids},
          {"token_ids", ids},
          {"text", completion.text},
          {"finish_reason", finish_reason_name(completion.finish_reason)},
          {"logprobs", sampling.logprobs < 0 ? Json(nullptr) : logprobs},
          {"timings",
           {{"load_s", llm.load_seconds()},
            {"ttft_ms", completion.ttft_ms},
            {"decode_tok_s", completion.decode_tok_s}}},
          {"device", llm.device()}};
}

// Options that were not given take the model's own defaults.
SamplingParams with_defaults(const LLM& llm, const CLI::App& command, const RunOptions& o) {
  const SamplingParams model = llm.default_sampling();
  SamplingParams params = o.sampling;
  if (!command.count("--temperature")) params.temperature = model.temperature;
  if (!command.count("--top-k")) params.top_k = model.top_k;
  if (!command.count("--top-p")) params.top_p = model.top_p;
  if (!command.count("--min-p")) params.min_p = model.min_p;
  if (!command.count("--typical-p")) params.typical_p = model.typical_p;
  if (!command.count("--repetition-penalty")) params.repetition_penalty = model.repetition_penalty;
  return params;
}

std::vector<ChatMessage> opening(const RunOptions& o) {
  if (o.system.empty()) return {};
  return {{"system", o.system}};
}

void converse(LLM& llm, const RunOptions& o, const SamplingParams& params) {
  std::fprintf(stderr, "%s. An empty line or Ctrl-D ends.\n", llm.device().c_str());
  std::vector<ChatMessage> messages = opening(o);
  for (std::string line; std::fputs("> ", stderr), std::getline(std::cin, line) && !line.empty();) {
    messages.push_back({"user", line});
    const Completion completion = llm.chat(messages, params, print_chunk);
    print_figures(llm, completion);
    messages.push_back({"assistant", completion.text});
  }
}

std::string read_prompt(const RunOptions& o) {
  if (o.has_prompt) return o.prompt;
  if (!o.prompt_file.empty()) return read_text_file(o.prompt_file);
  return {std::istreambuf_iterator<char>(std::cin), {}};
}

void run(const CLI::App& command, const RunOptions& o) {
  LLM llm(o.model.model, load_options(o.model));
  const SamplingParams params = with_defaults(llm, command, o);
  const bool given = o.has_prompt || !o.prompt_file.empty() || !o.prompt_ids.empty();
  if (!given && ::isatty(STDIN_FILENO) && !o.model.json) return converse(llm, o, params);

  const LLM::OnChunk stream = o.model.json ? LLM::OnChunk{} : print_chunk;
  Completion completion;
  if (!o.prompt_ids.empty()) {
    completion = llm.generate(parse_ids(o.prompt_ids, "--prompt-ids"), params, stream);
  } else if (o.chat) {
    std::vector<ChatMessage> messages = opening(o);
    messages.push_back({"user", read_prompt(o)});
    completion = llm.chat(messages, params, stream);
  } else {
    completion = llm.generate(read_prompt(o), params, stream);
  }
  if (o.model.json)
    std::cout
        << to_json(llm, completion, params).dump(-1, ' ', false, Json::error_handler_t::replace)
        << '\n';
  else
    print_figures(llm, completion);
}

}  // namespace

void add_run(CLI::App& app) {
  auto o = std::make_shared<RunOptions>();
  CLI::App* command = app.add_subcommand("run", "Complete a prompt, or converse on a terminal");
  add_model_options(*command, o->model);
  const auto prompt = command->add_option_group("Prompt", "one of these, or stdin");
  const auto text = prompt->add_option("--prompt", o->prompt, "the text to go on from");
  const auto file = prompt->add_option("--prompt-file", o->prompt_file, "a file with the text");
  const auto ids = prompt->add_option("--prompt-ids", o->prompt_ids, "token ids: 1,2,3");
  text->excludes(file)->excludes(ids);
  file->excludes(ids);
  const auto chat =
      command->add_flag("--chat", o->chat, "put the prompt into the model's chat template");
  chat->excludes(ids);
  command->add_option("--system", o->system, "the system message of a chat");
  add_sampling_options(*command, o->sampling);
  command->callback([command, text, o] {
    o->has_prompt = text->count() > 0;
    run(*command, *o);
  });
}

}  // namespace brayton
