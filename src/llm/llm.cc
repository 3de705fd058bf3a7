#include "brayton/llm.h"

#include <algorithm>
#include <chrono>
#include <future>
#include <utility>

#include "builder/builder.h"
#include "core/format.h"
#include "core/log.h"
#include "llm/device.h"
#include "llm/load.h"
#include "llm/stop_strings.h"
#include "llm/token_queue.h"
#include "program/program.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace brayton {
namespace {

using Clock = TokenQueue::Clock;

double milliseconds(Clock::duration time) {
  return std::chrono::duration<double, std::milli>(time).count();
}

}  // namespace

struct LLM::State {
  std::string path;
  std::unique_ptr<Backend> backend;
  std::shared_ptr<const Engine> engine;
  std::shared_ptr<Program> program;
  std::optional<Tokenizer> tokenizer;
  std::optional<ChatTemplate> chat_template;
  std::unique_ptr<Executor> executor;  // last: its thread ends before what it uses
  double load_seconds = 0;

  const Tokenizer& need_tokenizer() const {
    if (!tokenizer)
      throw_error(ErrorCode::kInvalidArgument,
                  "[text] '{}' has no tokenizer; give token ids (--prompt-ids)", path);
    return *tokenizer;
  }
  // Whether the token ended the text: it is no part of it.
  bool ends_text(int32_t token, const SamplingParams& params) const {
    const auto among = [token](const std::vector<int32_t>& ids) {
      return std::find(ids.begin(), ids.end(), token) != ids.end();
    };
    return among(params.stop_token_ids) ||
           (!params.ignore_eos && among(engine->model.eos_token_ids));
  }
  Completion generate(const std::vector<int32_t>& prompt, const SamplingParams& params,
                      const OnChunk& on_chunk);
};

LLM::LLM(const std::string& model, const LoadOptions& options) : state_(std::make_unique<State>()) {
  State& s = *state_;
  const auto start = Clock::now();
  s.path = model;
  s.backend = open_device(options);
  BuiltModel built = build_model(model, *s.backend, build_options(options));
  s.engine = std::make_shared<const Engine>(std::move(built.engine));
  // Reading a vocabulary takes as long as packing a small model.
  auto tokenizer = std::async(std::launch::async, built.load_tokenizer);
  const auto progress = [&](int64_t done, int64_t total) {
    if (options.progress) options.progress("load weights", done, total);
  };
  const ProgramOptions limits = program_options(options, *s.engine, *s.backend);
  const MemoryPlan memory = Program::plan_memory(*s.engine, *s.backend, limits);
  log_info("[memory] weights {} MiB, cache {} MiB, activations {} MiB (unshared {}), inputs {} MiB",
           memory.weights >> 20, memory.kv >> 20, memory.activations >> 20,
           memory.activations_unshared >> 20, memory.inputs >> 20);
  s.program = Program::load(s.engine, *s.backend, limits, progress);
  s.tokenizer = tokenizer.get();
  const EngineText& text = s.engine->text;
  if (!text.chat_template.empty())
    s.chat_template.emplace(text.chat_template, text.bos_token, text.eos_token, model);
  s.executor = std::make_unique<Executor>(s.program);
  s.load_seconds = milliseconds(Clock::now() - start) / 1e3;
}

LLM::~LLM() = default;
LLM::LLM(LLM&&) noexcept = default;

std::vector<int32_t> LLM::encode(const std::string& text, bool add_special) const {
  return state_->need_tokenizer().encode(text, add_special);
}

std::string LLM::decode(const std::vector<int32_t>& ids, bool skip_special) const {
  return state_->need_tokenizer().decode(ids, skip_special);
}

std::string LLM::apply_chat_template(const std::vector<ChatMessage>& messages) const {
  if (!state_->chat_template)
    throw_error(ErrorCode::kInvalidArgument,
                "[text] '{}' has no chat template; give a plain prompt", state_->path);
  return state_->chat_template->render(messages, true);
}

SamplingParams LLM::default_sampling() const {
  SamplingParams params;
  const Json& generation = state_->engine->model.generation;
  if (!generation.is_object()) return params;
  const JsonReader reader(generation, "generation defaults");
  if (reader.get_bool({"do_sample"}, false)) {
    params.temperature = reader.get_double({"temperature"}, 1.0);
    params.top_k = reader.get_int({"top_k"}, 0, state_->engine->model.vocab_size, 50);
    params.top_p = reader.get_double({"top_p"}, 1.0);
    params.min_p = reader.get_double({"min_p"}, 0.0);
    params.typical_p = reader.get_double({"typical_p"}, 1.0);
  }
  params.repetition_penalty = reader.get_double({"repetition_penalty"}, 1.0);
  return params;
}

Completion LLM::State::generate(const std::vector<int32_t>& prompt, const SamplingParams& params,
                                const OnChunk& on_chunk) {
  const auto start = Clock::now();
  // Shared with the callbacks, which may outlive an exception in on_chunk.
  const auto queue = std::make_shared<TokenQueue>();
  const RequestId id = executor->enqueue(
      {.prompt = prompt, .sampling = params},
      {.on_token =
           [queue](const TokenOutput& token) {
             queue->push(token);
             return true;
           },
       .on_finish = [queue](const RequestResult& result) { queue->finish(result); }});
  struct CancelOnExit {
    Executor& executor;
    RequestId id;
    ~CancelOnExit() { executor.cancel(id); }
  } const cancel_on_exit{*executor, id};

  Completion completion;
  completion.prompt_token_ids = prompt;
  std::optional<StreamDecoder> decoder;
  if (tokenizer) decoder.emplace(*tokenizer);
  StopStrings stops(params.stop);
  bool cancelled = false;
  const auto deliver = [&](TextChunk chunk) {
    completion.text += chunk.text;
    if (on_chunk && !on_chunk(chunk)) cancelled = true;
  };

  std::vector<TokenOutput> tokens;
  while (!cancelled && !stops.found() && queue->pop(tokens)) {
    TextChunk chunk;
    for (TokenOutput& token : tokens) {
      if (decoder && !ends_text(token.token, params))
        chunk.text += stops.push(decoder->push(token.token));
      completion.tokens.push_back(token);
      chunk.tokens.push_back(std::move(token));
      if (stops.found()) break;
    }
    deliver(std::move(chunk));
  }
  if (cancelled || stops.found()) executor->cancel(id);
  const RequestResult result = queue->wait_for_result();
  if (result.finish_reason == FinishReason::kError) throw Error(ErrorCode::kInternal, result.error);
  completion.finish_reason = stops.found() ? FinishReason::kStop
                             : cancelled   ? FinishReason::kCancelled
                                           : result.finish_reason;
  if (decoder && !stops.found() && !cancelled) {
    std::string rest = stops.push(decoder->finish());
    if (stops.found())
      completion.finish_reason = FinishReason::kStop;
    else
      rest += stops.finish();
    if (!rest.empty()) deliver({.text = std::move(rest)});
  }

  if (const auto first = queue->first_token_time()) {
    completion.ttft_ms = milliseconds(*first - start);
    const double decode_ms = milliseconds(queue->last_token_time() - *first);
    if (decode_ms > 0)
      completion.decode_tok_s = (static_cast<double>(result.tokens.size()) - 1) * 1e3 / decode_ms;
  }
  return completion;
}

Completion LLM::generate(const std::vector<int32_t>& prompt, const SamplingParams& params,
                         const OnChunk& on_chunk) {
  if (!params.stop.empty()) state_->need_tokenizer();
  return state_->generate(prompt, params, on_chunk);
}

Completion LLM::generate(const std::string& prompt, const SamplingParams& params,
                         const OnChunk& on_chunk) {
  return state_->generate(encode(prompt), params, on_chunk);
}

Completion LLM::chat(const std::vector<ChatMessage>& messages, const SamplingParams& params,
                     const OnChunk& on_chunk) {
  // The template writes the special tokens itself.
  return state_->generate(encode(apply_chat_template(messages), false), params, on_chunk);
}

Score LLM::score(const std::vector<int32_t>& ids) {
  SamplingParams params;
  params.max_tokens = 0;  // the prompt alone
  const RequestId id = state_->executor->enqueue(
      {.prompt = ids, .sampling = params, .prompt_logprobs = true, .return_logits = true});
  RequestResult result = state_->executor->await(id);
  if (result.finish_reason == FinishReason::kError) throw Error(ErrorCode::kInternal, result.error);
  for (float& logprob : result.prompt_logprobs) logprob = -logprob;
  return {std::move(result.prompt_logprobs), std::move(result.logits)};
}

std::string LLM::device() const { return state_->backend->description(); }
double LLM::load_seconds() const { return state_->load_seconds; }
int64_t LLM::vocab_size() const { return state_->engine->model.vocab_size; }
int64_t LLM::max_positions() const { return state_->engine->model.max_positions; }
Executor& LLM::executor() { return *state_->executor; }

int64_t LLM::decode_read_bytes(int64_t batch, int64_t context) const {
  const Plan& plan = state_->engine->plan;
  const int64_t token = storage_bytes(plan.dtype, {2, plan.kv_heads, plan.head_dim});
  return state_->program->memory().weights + batch * context * plan.attentions * token;
}

double LLM::measure_read_bandwidth() const { return state_->backend->measure_read_bandwidth(); }

std::vector<std::pair<std::string, double>> LLM::take_profile() {
  return state_->program->take_profile();
}

}  // namespace brayton
