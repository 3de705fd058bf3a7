// Text <-> token ids.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

struct BraytonStream;

namespace brayton {

// A vocabulary as GGUF metadata carries it.
struct GgufVocab {
  std::string model;  // tokenizer.ggml.model: "gpt2" (BPE) or "llama" (SPM)
  std::string pre;    // tokenizer.ggml.pre: names the pre-tokenizer of a BPE
  std::vector<std::string_view> tokens;
  std::vector<float> scores;             // SPM
  std::vector<int32_t> token_types;      // 1 normal, 2 unknown, 3 control, 4 user, 5 unused, 6 byte
  std::vector<std::string_view> merges;  // BPE: "a b"
  std::optional<int32_t> bos, eos, unk;
  bool add_bos = false;
  bool add_eos = false;
  bool add_space_prefix = true;
};

// Immutable and thread-safe.
class Tokenizer {
 public:
  // How a tokenizer is kept in an engine file.
  enum class Kind : uint8_t { kHuggingFace = 0, kSentencePiece = 1 };

  // Throw Error(kInvalidModel) that names `where` and the fault; Error(kUnsupported) for a kind of
  // vocabulary that is not here. A pre-tokenizer of unknown name becomes "default", with a warning.
  static Tokenizer from_huggingface(std::string_view tokenizer_json, const std::string& where);
  static Tokenizer from_sentencepiece(std::span<const std::byte> model, const std::string& where);
  static Tokenizer from_gguf(const GgufVocab& vocab, const std::string& where);
  // vocab.json + merges.txt of a byte-level BPE in the GPT-2 manner. `pre` names the pre-tokenizer
  // as GGUF files do ("gpt-2", "qwen2", ...). `special_tokens` that the vocabulary lacks get the
  // ids after it, in this order.
  static Tokenizer from_bpe_files(std::string_view vocab_json, std::string_view merges_txt,
                                  const std::string& where, const std::string& pre = "gpt-2",
                                  std::span<const std::string_view> special_tokens = {});
  static Tokenizer deserialize(Kind kind, std::span<const std::byte> bytes,
                               const std::string& where);

  // `add_special`: what the tokenizer's own post-processor adds (usually BOS). Text that spells a
  // special token becomes that token when `parse_special`.
  std::vector<int32_t> encode(std::string_view text, bool add_special = true,
                              bool parse_special = true) const;
  // Invalid UTF-8 becomes U+FFFD. Ids outside the vocabulary throw Error(kInvalidArgument).
  std::string decode(std::span<const int32_t> ids, bool skip_special = true) const;

  int32_t vocab_size() const;
  std::string token(int32_t id) const;  // its spelling in the vocabulary
  std::optional<int32_t> id(std::string_view token) const;
  bool is_special(int32_t id) const;

  Kind kind() const;
  std::vector<std::byte> serialize() const;

 private:
  struct State;
  explicit Tokenizer(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  std::shared_ptr<const State> state_;
  friend class StreamDecoder;
};

// Ids one by one -> text. Concatenated pieces equal Tokenizer::decode of all the ids, byte for
// byte; a piece never ends inside a UTF-8 sequence. Work per token is bounded. For one thread.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special = true);
  std::string push(int32_t id);
  std::string finish();  // what was held back

 private:
  struct Free {
    void operator()(BraytonStream* stream) const;
  };
  std::unique_ptr<BraytonStream, Free> stream_;  // shares the tokenizer's vocabulary
};

}  // namespace brayton
