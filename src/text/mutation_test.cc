// Damaged tokenizer files, SentencePiece models, GGUF vocabularies and chat templates are read or
// refused: an Error that names the file, never a crash, whatever is then encoded or decoded.
#include <gtest/gtest.h>

#include <limits>

#include "brayton/error.h"
#include "core/format.h"
#include "testing/mutate.h"
#include "text/chat_template.h"
#include "text/test_tokenizers.h"

namespace brayton {
namespace {

using testing::as_bytes;
using testing::Bytes;
using testing::Mutator;
using testing::OwnedGgufVocab;
using testing::Random;

constexpr char kWhere[] = "case.file";

// What a program does with a tokenizer.
void use(const Tokenizer& tokenizer) {
  for (const char* text : {"", " Hello <s>wor\xFFld 🦙", "abc ▁ aab\n\n12"}) {
    for (const bool flag : {true, false}) {
      const std::vector<int32_t> ids = tokenizer.encode(text, flag, flag);
      tokenizer.decode(ids, flag);
      StreamDecoder decoder(tokenizer, flag);
      for (int32_t id : ids) decoder.push(id);
      decoder.finish();
    }
  }
  const int32_t size = tokenizer.vocab_size();
  for (int32_t id : {0, size / 2, size - 1}) tokenizer.is_special(id);
  tokenizer.id("a");
}

// Runs `count` cases; `run(mutator)` reads one damaged thing. Returns how many were read.
template <class Run>
int sweep(uint64_t seed, int count, Run run) {
  int read = 0;
  for (int i = 0; i < count; ++i) {
    const uint64_t case_seed = seed * 1'000'000 + static_cast<uint64_t>(i);
    Mutator mutator(case_seed);
    try {
      run(mutator);
      ++read;
    } catch (const Error& error) {
      const std::string what = error.what();
      // A part that only fails in use gives an error of that call.
      if (what.starts_with("[tokenizer]")) continue;
      EXPECT_NE(what.find(kWhere), std::string::npos) << "seed " << case_seed << ": " << what;
      EXPECT_NE(error.code(), ErrorCode::kInternal) << "seed " << case_seed << ": " << what;
    }
  }
  return read;
}

// All parts that a tokenizer.json can have, with a vocabulary of a few tokens.
constexpr std::string_view kTokenizerJson = R"({
  "version": "1.0", "truncation": {"direction": "Right", "max_length": 8,
  "strategy": "LongestFirst", "stride": 0}, "padding": {"strategy": {"Fixed": 4},
  "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "<s>"},
  "added_tokens": [{"id": 0, "content": "<s>", "single_word": false, "lstrip": false,
  "rstrip": false, "normalized": false, "special": true}, {"id": 13, "content": "wor",
  "single_word": true, "lstrip": true, "rstrip": true, "normalized": true, "special": false}],
  "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Prepend",
  "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
  "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern":
  {"Regex": "[^\\s\\p{L}]?\\p{L}+|\\p{N}{1,3}|\\s+"}, "behavior": "Isolated", "invert": false},
  {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]},
  "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>",
  "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [{"Sequence": {"id": "A",
  "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}], "special_tokens": {"<s>": {"id": "<s>",
  "ids": [0], "tokens": ["<s>"]}}},
  "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"},
  "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ",
  "start": 1, "stop": 0}]},
  "model": {"type": "BPE", "dropout": null, "unk_token": "<s>", "continuing_subword_prefix": null,
  "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
  "vocab": {"<s>": 0, "a": 1, "b": 2, "c": 3, "ab": 4, "abc": 5, "<0x0A>": 6, "<0xF0>": 7, "Ġ": 8,
  "▁": 9, "l": 10, "ll": 11, "o": 12}, "merges": [["a", "b"], ["ab", "c"], ["l", "l"]]}})";

TEST(TextMutation, TokenizerJson) {
  use(Tokenizer::from_huggingface(kTokenizerJson, kWhere));
  const int read = sweep(1, 4000, [](Mutator& mutator) {
    use(Tokenizer::from_huggingface(mutator.mutate_json(kTokenizerJson), kWhere));
  });
  EXPECT_GT(read, 20);
  EXPECT_LT(read, 3900);
}

void collect(Json& value, std::vector<Json*>& all) {
  all.push_back(&value);
  if (value.is_structured())
    for (Json& child : value) collect(child, all);
}

// Still JSON: values exchanged for others of the file or for awkward ones.
TEST(TextMutation, ValuesOfATokenizerJson) {
  static const Json kAwkward[] = {
      nullptr,  true, 0,   -1,   4294967295u, 18446744073709551615u, 1e300,         "",
      "\u2581", "(",  "[", "ab", "<s>",       Json::array(),         Json::object()};
  const int read = sweep(6, 6000, [](Mutator& mutator) {
    Json file = Json::parse(kTokenizerJson);
    for (uint64_t n = 1 + mutator.below(2); n > 0; --n) {
      std::vector<Json*> all;
      collect(file, all);
      Json& target = *all[1 + mutator.below(all.size() - 1)];
      const Json other = *all[1 + mutator.below(all.size() - 1)];
      target = mutator.below(2) ? other : kAwkward[mutator.below(std::size(kAwkward))];
    }
    use(Tokenizer::from_huggingface(file.dump(), kWhere));
  });
  EXPECT_GT(read, 200);
  EXPECT_LT(read, 5800);
}

Bytes small_sentencepiece(bool with_bytes) {
  OwnedGgufVocab vocab;
  vocab.tokens = {"<unk>", "<s>", "</s>"};
  vocab.vocab.token_types = {2, 3, 3};
  for (int byte = 0; with_bytes && byte < 256; ++byte) {
    vocab.tokens.push_back(format("<0x{:02X}>", byte));
    vocab.vocab.token_types.push_back(6);
  }
  vocab.vocab.scores.assign(vocab.tokens.size(), 0.0f);
  for (const char* piece : {"▁", "a", "b", "ab", "▁a", "▁ab", "l", "o", "ll"}) {
    vocab.tokens.push_back(piece);
    vocab.vocab.token_types.push_back(1);
    vocab.vocab.scores.push_back(-static_cast<float>(vocab.tokens.size()));
  }
  vocab.vocab.model = "llama";
  vocab.vocab.bos = 1;
  vocab.vocab.eos = 2;
  return Tokenizer::from_gguf(vocab.view(), "small").serialize();
}

TEST(TextMutation, SentencePieceModel) {
  for (const bool with_bytes : {true, false}) {
    const Bytes small = small_sentencepiece(with_bytes);
    const int read = sweep(2, 2000, [&](Mutator& mutator) {
      use(Tokenizer::from_sentencepiece(mutator.mutate(small), kWhere));
    });
    EXPECT_GT(read, with_bytes ? 5 : 50);
    EXPECT_LT(read, 1900);
  }
}

// The map of the normaliser is a trie of 240 kB that the library walks without checks.
TEST(TextMutation, SentencePieceCharsmap) {
  const std::string good = testing::read_test_file("text/unigram/tokenizer.model");
  const std::string texts = testing::random_texts(1)[0] + "ﬁ Ⅷ ㍿ e\u0301 \u00A0 ｶﾞ";
  const int read = sweep(3, 300, [&](Mutator& mutator) {
    Bytes bad(as_bytes(good).begin(), as_bytes(good).end());
    // Within the map: a few flipped bits, which keep the message's framing.
    for (uint64_t n = 1 + mutator.below(40); n > 0; --n)
      bad[bad.size() - 200'000 + mutator.below(190'000)] ^=
          static_cast<std::byte>(1u << mutator.below(8));
    const Tokenizer tokenizer = Tokenizer::from_sentencepiece(bad, kWhere);
    use(tokenizer);
    tokenizer.encode(texts);
  });
  EXPECT_LT(read, 300);
}

void damage(OwnedGgufVocab& owned, Mutator& random) {
  GgufVocab& vocab = owned.vocab;
  const auto pick = [&](auto& list) -> auto& { return list[random.below(list.size())]; };
  static constexpr int32_t kIds[] = {
      -1, 0, 5, 12, 1000, std::numeric_limits<int32_t>::max(), std::numeric_limits<int32_t>::min()};
  const auto any_id = [&] { return kIds[random.below(std::size(kIds))]; };
  switch (random.below(16)) {
    case 0:
      pick(owned.tokens) = "";
      break;
    case 1:
      pick(owned.tokens) = pick(owned.tokens);
      break;
    case 2:
      pick(owned.tokens) += "\xC3";
      break;
    case 3:
      pick(owned.tokens).push_back('\0');
      break;
    case 4:
      owned.tokens.resize(random.below(owned.tokens.size()) + 1);
      break;
    case 5:
      vocab.token_types.resize(random.below(20));
      break;
    case 6:
      if (!vocab.token_types.empty()) pick(vocab.token_types) = any_id();
      break;
    case 7:
      if (!vocab.scores.empty()) pick(vocab.scores) = 1e38f * 10;
      break;
    case 8:
      vocab.scores.resize(random.below(20));
      break;
    case 9:
      if (!owned.merges.empty()) pick(owned.merges) = "no such";
      break;
    case 10:
      if (!owned.merges.empty()) pick(owned.merges) = "a ";
      break;
    case 11:
      if (!owned.merges.empty()) pick(owned.merges) = pick(owned.merges);
      break;
    case 12:
      vocab.bos = any_id(), vocab.add_bos = random.below(2);
      break;
    case 13:
      vocab.eos = any_id(), vocab.add_eos = random.below(2);
      break;
    case 14:
      vocab.unk = any_id();
      break;
    default:
      vocab.model = random.below(2) ? "llama" : "gpt2";
  }
}

TEST(TextMutation, GgufVocabulary) {
  OwnedGgufVocab good;
  good.tokens = {"<s>", "a", "b", "c", "ab", "abc", "Ġ", "Ġab", "<t>", "<unk>"};
  good.merges = {"a b", "ab c", "Ġ ab"};
  good.vocab.token_types = {3, 1, 1, 1, 1, 1, 1, 1, 4, 2};
  good.vocab.scores = {0, -1, -2, -3, -4, -5, -6, -7, 0, 0};
  good.vocab.pre = "gpt-2";
  good.vocab.bos = good.vocab.eos = 0;
  good.vocab.unk = 9;
  for (const char* model : {"gpt2", "llama"}) {
    good.vocab.model = model;
    use(Tokenizer::from_gguf(good.view(), kWhere));
    const int read = sweep(4, 1500, [&](Mutator& mutator) {
      OwnedGgufVocab bad = good;
      for (uint64_t n = 1 + mutator.below(3); n > 0; --n) damage(bad, mutator);
      use(Tokenizer::from_gguf(bad.view(), kWhere));
    });
    EXPECT_GT(read, 50) << model;
    EXPECT_LT(read, 1450) << model;
  }
}

TEST(TextMutation, ChatTemplate) {
  const std::string good = testing::read_test_file("text/templates/dialect.jinja");
  sweep(5, 1500, [&](Mutator& mutator) {
    const Bytes bad = mutator.mutate(as_bytes(good));
    const ChatTemplate chat({reinterpret_cast<const char*>(bad.data()), bad.size()}, "<s>", "</s>",
                            kWhere);
    chat.render({{"user", "Hi"}, {"assistant", "Ho"}}, true);
  });
}

}  // namespace
}  // namespace brayton
