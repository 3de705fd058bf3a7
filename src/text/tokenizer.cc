#include "text/tokenizer.h"

#include <cstring>

#include "core/log.h"
#include "text/rust_call.h"

namespace brayton {
namespace {

constexpr char kWhere[] = "tokenizer";

std::vector<BraytonBytes> all_bytes(std::span<const std::string_view> texts) {
  std::vector<BraytonBytes> result;
  result.reserve(texts.size());
  for (std::string_view text : texts) result.push_back(rust::bytes(text));
  return result;
}

std::string_view known_pre_tokenizer(std::string_view name, const std::string& where) {
  if (brayton_text_knows_pre_tokenizer(rust::bytes(name))) return name;
  const std::string what = name.empty() ? "no pre-tokenizer is named (tokenizer.ggml.pre)"
                                        : format("pre-tokenizer '{}' is not known", name);
  log_warning(
      "[{}] {}, 'default' is used: ids may differ from the model's; use a checkpoint with a "
      "tokenizer.json if answers are poor",
      where, what);
  return "default";
}

}  // namespace

struct Tokenizer::State {
  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (handle) brayton_text_tokenizer_free(handle);
  }

  BraytonTokenizer* handle = nullptr;
};

namespace {

// `call(handle, out)` makes the Rust object.
template <class State, class Call>
std::shared_ptr<const State> load(const std::string& where, Call call) {
  auto state = std::make_shared<State>();
  rust::Buffer out;
  rust::check(call(&state->handle, out.out()), out, where);
  return state;
}

}  // namespace

Tokenizer Tokenizer::from_huggingface(std::string_view tokenizer_json, const std::string& where) {
  return Tokenizer(load<State>(where, [&](BraytonTokenizer** handle, BraytonBuffer* out) {
    return brayton_text_from_huggingface(rust::bytes(tokenizer_json), handle, out);
  }));
}

Tokenizer Tokenizer::from_sentencepiece(std::span<const std::byte> model,
                                        const std::string& where) {
  const BraytonBytes bytes{reinterpret_cast<const uint8_t*>(model.data()), model.size()};
  return Tokenizer(load<State>(where, [&](BraytonTokenizer** handle, BraytonBuffer* out) {
    return brayton_text_from_sentencepiece(bytes, handle, out);
  }));
}

Tokenizer Tokenizer::from_gguf(const GgufVocab& vocab, const std::string& where) {
  const std::vector<BraytonBytes> tokens = all_bytes(vocab.tokens);
  const std::vector<BraytonBytes> merges = all_bytes(vocab.merges);
  const bool is_bpe = vocab.model == "gpt2";
  const std::string_view pre = is_bpe ? known_pre_tokenizer(vocab.pre, where) : "default";
  const BraytonGgufVocab raw{.model = rust::bytes(vocab.model),
                             .pre = rust::bytes(pre),
                             .tokens = tokens.data(),
                             .num_tokens = tokens.size(),
                             .scores = vocab.scores.data(),
                             .num_scores = vocab.scores.size(),
                             .token_types = vocab.token_types.data(),
                             .num_token_types = vocab.token_types.size(),
                             .merges = merges.data(),
                             .num_merges = merges.size(),
                             .bos = vocab.bos.value_or(-1),
                             .eos = vocab.eos.value_or(-1),
                             .unk = vocab.unk.value_or(-1),
                             .add_bos = vocab.add_bos,
                             .add_eos = vocab.add_eos,
                             .add_space_prefix = vocab.add_space_prefix};
  return Tokenizer(load<State>(where, [&](BraytonTokenizer** handle, BraytonBuffer* out) {
    return brayton_text_from_gguf(&raw, handle, out);
  }));
}

Tokenizer Tokenizer::from_bpe_files(std::string_view vocab_json, std::string_view merges_txt,
                                    const std::string& where, const std::string& pre,
                                    std::span<const std::string_view> special_tokens) {
  const std::vector<BraytonBytes> special = all_bytes(special_tokens);
  const std::string_view known = known_pre_tokenizer(pre, where);
  return Tokenizer(load<State>(where, [&](BraytonTokenizer** handle, BraytonBuffer* out) {
    return brayton_text_from_bpe_files(rust::bytes(vocab_json), rust::bytes(merges_txt),
                                       rust::bytes(known), special.data(), special.size(), handle,
                                       out);
  }));
}

Tokenizer Tokenizer::deserialize(Kind kind, std::span<const std::byte> bytes,
                                 const std::string& where) {
  switch (kind) {
    case Kind::kHuggingFace:
      return from_huggingface({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, where);
    case Kind::kSentencePiece:
      return from_sentencepiece(bytes, where);
  }
  throw_error(ErrorCode::kInvalidModel, "[{}] the tokenizer's kind must be 0 or 1, got {}", where,
              static_cast<int>(kind));
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool add_special,
                                       bool parse_special) const {
  rust::Buffer out;
  rust::check(
      brayton_text_encode(state_->handle, rust::bytes(text), add_special, parse_special, out.out()),
      out, kWhere);
  std::vector<int32_t> ids(out.view().size() / sizeof(int32_t));
  if (!ids.empty()) std::memcpy(ids.data(), out.view().data(), out.view().size());
  return ids;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  rust::Buffer out;
  rust::check(brayton_text_decode(state_->handle, ids.data(), ids.size(), skip_special, out.out()),
              out, kWhere);
  return std::string(out.view());
}

int32_t Tokenizer::vocab_size() const { return brayton_text_vocab_size(state_->handle); }

std::string Tokenizer::token(int32_t id) const {
  rust::Buffer out;
  rust::check(brayton_text_token(state_->handle, id, out.out()), out, kWhere);
  return std::string(out.view());
}

std::optional<int32_t> Tokenizer::id(std::string_view token) const {
  const int32_t id = brayton_text_id(state_->handle, rust::bytes(token));
  return id < 0 ? std::nullopt : std::optional(id);
}

bool Tokenizer::is_special(int32_t id) const { return brayton_text_is_special(state_->handle, id); }

Tokenizer::Kind Tokenizer::kind() const {
  return static_cast<Kind>(brayton_text_kind(state_->handle));
}

std::vector<std::byte> Tokenizer::serialize() const {
  rust::Buffer out;
  rust::check(brayton_text_serialize(state_->handle, out.out()), out, kWhere);
  const auto* data = reinterpret_cast<const std::byte*>(out.view().data());
  return {data, data + out.view().size()};
}

void StreamDecoder::Free::operator()(BraytonStream* stream) const {
  brayton_text_stream_free(stream);
}

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special)
    : stream_(brayton_text_stream_new(tokenizer.state_->handle, skip_special)) {}

std::string StreamDecoder::push(int32_t id) {
  rust::Buffer out;
  rust::check(brayton_text_stream_push(stream_.get(), id, out.out()), out, kWhere);
  return std::string(out.view());
}

std::string StreamDecoder::finish() {
  rust::Buffer out;
  rust::check(brayton_text_stream_finish(stream_.get(), out.out()), out, kWhere);
  return std::string(out.view());
}

}  // namespace brayton
