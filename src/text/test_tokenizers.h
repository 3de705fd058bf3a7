// The tokenizers of tests/data, by name, and the random texts of tests/golden/make_text_golden.py.
// Only tests include this header.
#pragma once

#include <array>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/json.h"
#include "text/tokenizer.h"

namespace brayton::testing {

inline std::string read_test_file(const std::string& name) {
  std::ifstream file(BRAYTON_TEST_DATA "/" + name, std::ios::binary);
  if (!file) throw std::runtime_error("missing test file: " + name);
  return {std::istreambuf_iterator<char>(file), {}};
}

// splitmix64.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t below(uint64_t end) {
    uint64_t z = state_ += 0x9E3779B97F4A7C15;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return (z ^ (z >> 31)) % end;
  }

 private:
  uint64_t state_;
};

inline void append_utf8(uint32_t c, std::string& text) {
  const auto tail = [&](int shift) { text += static_cast<char>(0x80 | ((c >> shift) & 0x3F)); };
  if (c < 0x80) {
    text += static_cast<char>(c);
  } else if (c < 0x800) {
    text += static_cast<char>(0xC0 | (c >> 6));
    tail(0);
  } else if (c < 0x10000) {
    text += static_cast<char>(0xE0 | (c >> 12));
    tail(6), tail(0);
  } else {
    text += static_cast<char>(0xF0 | (c >> 18));
    tail(12), tail(6), tail(0);
  }
}

// The same texts as random_texts() of the Python file.
inline std::vector<std::string> random_texts(size_t count = 10'000) {
  static constexpr std::pair<uint32_t, uint32_t> kRanges[] = {
      {0x61, 0x7A},       {0x61, 0x7A},       {0x20, 0x20},       {0x41, 0x5A},
      {0x30, 0x39},       {0x21, 0x2F},       {0x3A, 0x40},       {0x5B, 0x60},
      {0x7B, 0x7E},       {0x09, 0x0D},       {0x00, 0x1F},       {0xA0, 0xFF},
      {0x100, 0x24F},     {0x300, 0x36F},     {0x370, 0x3FF},     {0x400, 0x4FF},
      {0x5D0, 0x5EA},     {0x620, 0x6D5},     {0x905, 0x94D},     {0xE01, 0xE4E},
      {0x1100, 0x11FF},   {0x1E00, 0x1FFE},   {0x2000, 0x206F},   {0x2070, 0x209C},
      {0x2100, 0x214F},   {0x2581, 0x2581},   {0x3000, 0x303F},   {0x3040, 0x30FF},
      {0x4E00, 0x9FFF},   {0xAC00, 0xD7A3},   {0xF900, 0xFAD9},   {0xFE00, 0xFE0F},
      {0xFF01, 0xFFEE},   {0x1D400, 0x1D7FF}, {0x1F300, 0x1F64F}, {0x1F680, 0x1F6FF},
      {0x20000, 0x2A6DF}, {0x10000, 0x10FFFF}};
  static constexpr const char* kWords[] = {
      "the",    " and",    "'s",           "don't",      "I'LL",   "\r\n",          "\n\n",
      "   ",    "\t",      "    ",         "1234567",    "3.14",   "<|endoftext|>", "<s>",
      "</s>",   "<unk>",   "<|im_start|>", "<|im_end|>", "[MASK]", "<0x41>",        "\u200d",
      "\ufffd", "e\u0301", "...",          "http://",    "\u017f", "##ing"};
  Random random(2024);
  std::vector<std::string> texts(count);
  for (std::string& text : texts) {
    for (uint64_t left = random.below(33); left > 0; --left) {
      if (random.below(8) == 0) {
        text += kWords[random.below(std::size(kWords))];
        continue;
      }
      const auto [low, high] = kRanges[random.below(std::size(kRanges))];
      append_utf8(static_cast<uint32_t>(low + random.below(high - low + 1)), text);
    }
  }
  return texts;
}

// Owns the strings that a GgufVocab points to.
struct OwnedGgufVocab {
  std::vector<std::string> tokens, merges;
  GgufVocab vocab;

  // Views of `tokens` and `merges` as they are now.
  const GgufVocab& view() {
    vocab.tokens.assign(tokens.begin(), tokens.end());
    vocab.merges.assign(merges.begin(), merges.end());
    return vocab;
  }
};

inline OwnedGgufVocab read_gguf_vocab(const std::string& name, const std::string& pre) {
  const std::string file = "text/" + name + "/gguf_vocab.json";
  const Json json = parse_json(read_test_file(file), file);
  OwnedGgufVocab result;
  result.tokens = json["tokens"].get<std::vector<std::string>>();
  result.merges = json["merges"].get<std::vector<std::string>>();
  result.vocab.model = json["model"];
  result.vocab.pre = pre;
  result.vocab.token_types = json["token_types"].get<std::vector<int32_t>>();
  result.vocab.bos = json["bos"].get<int32_t>();
  result.vocab.eos = json["eos"].get<int32_t>();
  return result;
}

inline Tokenizer sentencepiece_from(const std::string& file) {
  const std::string model = read_test_file(file);
  return Tokenizer::from_sentencepiece(std::as_bytes(std::span(model)), file);
}

// Mistral's vocabulary as a GGUF file carries it: the pieces with the scores that its model has.
inline OwnedGgufVocab mistral_gguf_vocab() {
  const Tokenizer model = sentencepiece_from("text/mistral/tokenizer.model.v1");
  OwnedGgufVocab result;
  for (int32_t id = 0; id < model.vocab_size(); ++id) {
    result.tokens.push_back(model.token(id));
    const bool is_byte = id >= 3 && id < 259;
    result.vocab.token_types.push_back(id == 0 ? 2 : id < 3 ? 3 : is_byte ? 6 : 1);
    // Runs of spaces come last.
    const std::string& piece = result.tokens.back();
    bool is_spaces = piece.size() > 3;
    for (size_t i = 0; i < piece.size(); i += 3)
      is_spaces = is_spaces && piece.substr(i, 3) == "\u2581";
    const float score = id < 259 ? 0.0f : -static_cast<float>(id - 259);
    result.vocab.scores.push_back(is_spaces ? -1e9f : score);
  }
  result.vocab.model = "llama";
  result.vocab.bos = 1;
  result.vocab.eos = 2;
  result.vocab.unk = 0;
  result.vocab.add_bos = true;
  return result;
}

inline Tokenizer bpe_files(const std::string& vocab, const std::string& merges,
                           const std::string& pre, std::vector<std::string_view> special) {
  return Tokenizer::from_bpe_files(read_test_file(vocab), read_test_file(merges), vocab, pre,
                                   special);
}

// `name`: a tokenizer of text/golden.json, or one of them with "_gguf" behind it.
inline Tokenizer load_test_tokenizer(const std::string& name) {
  if (name == "gpt2")
    return bpe_files("text/gpt2/vocab.json", "text/gpt2/merges.txt", "gpt-2", {"<|endoftext|>"});
  if (name == "opt")
    return bpe_files("text/opt/vocab.json", "text/gpt2/merges.txt", "gpt-2",
                     {"<s>", "<pad>", "</s>", "<unk>"});
  if (name == "qwen2")
    return bpe_files("text/qwen2/vocab.json", "text/qwen2/merges.txt", "qwen2",
                     {"<|endoftext|>", "<|im_start|>", "<|im_end|>"});
  if (name == "mistral" || name == "unigram")
    return sentencepiece_from(name == "mistral" ? "text/mistral/tokenizer.model.v1"
                                                : "text/unigram/tokenizer.model");
  if (name == "mistral_gguf") return Tokenizer::from_gguf(mistral_gguf_vocab().view(), name);
  if (name == "gpt_neox_gguf")
    return Tokenizer::from_gguf(read_gguf_vocab("gpt_neox", "gpt-neox").view(), name);
  if (name == "falcon" || name == "smollm2")
    return Tokenizer::from_gguf(read_gguf_vocab(name, name == "falcon" ? name : "smollm").view(),
                                name);
  const std::string file = name == "novel-2m" ? "novel-2m/tokenizer.json"
                           : name == "bert"   ? "text/bert/tokenizer.json"
                                              : "text/gpt_neox/20B_tokenizer.json";
  return Tokenizer::from_huggingface(read_test_file(file), file);
}

inline constexpr const char* kTestTokenizers[] = {
    "gpt2", "opt",    "qwen2",   "gpt_neox", "gpt_neox_gguf", "novel-2m",
    "bert", "falcon", "smollm2", "mistral",  "mistral_gguf",  "unigram"};

}  // namespace brayton::testing
