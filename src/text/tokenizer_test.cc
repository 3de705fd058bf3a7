// A tokenizer from any source has one behaviour: special tokens, ends of a text, look-ups, its form
// in an engine file; and what is wrong with a file is said with its name.
#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "brayton/error.h"
#include "text/test_tokenizers.h"

namespace brayton {
namespace {

using Ids = std::vector<int32_t>;
using testing::OwnedGgufVocab;

// Letters, three merges, special tokens, and one that users defined.
OwnedGgufVocab small_bpe() {
  OwnedGgufVocab result;
  result.tokens = {"<s>", "</s>", "a", "b", "c", "Ġ", "ab", "abc", "Ġab", "<tool>", ""};
  result.merges = {"a b", "ab c", "Ġ ab"};
  result.vocab.model = "gpt2";
  result.vocab.pre = "gpt-2";
  result.vocab.token_types = {3, 3, 1, 1, 1, 1, 1, 1, 1, 4, 5};
  result.vocab.bos = 0;
  result.vocab.eos = 1;
  return result;
}

OwnedGgufVocab small_spm() {
  OwnedGgufVocab result;
  result.tokens = {"<unk>", "<s>", "</s>", "▁", "a", "b", "▁a", "ab", "<tool>"};
  result.vocab.scores = {0, 0, 0, -4, -5, -6, -1, -2, 0};
  result.vocab.token_types = {2, 3, 3, 1, 1, 1, 1, 1, 4};
  result.vocab.model = "llama";
  result.vocab.bos = 1;
  result.vocab.eos = 2;
  return result;
}

template <class Load>
void expect_error(Load load, const std::string& text, ErrorCode code = ErrorCode::kInvalidModel) {
  try {
    load();
    FAIL() << "no error; expected: " << text;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
  }
}

TEST(Tokenizer, SpecialTokensInText) {
  const Tokenizer bpe = Tokenizer::from_gguf(small_bpe().view(), "bpe");
  EXPECT_EQ(bpe.encode("abc<s> ab"), (Ids{7, 0, 8}));
  EXPECT_EQ(bpe.encode("a</s>b<tool>"), (Ids{2, 1, 3, 9}));
  // Without parsing, only what users defined is still one token; '<' and 's' are not in this
  // vocabulary.
  EXPECT_EQ(bpe.encode("a<s>b<tool>", true, false), (Ids{2, 3, 9}));
  EXPECT_TRUE(bpe.is_special(0));
  EXPECT_FALSE(bpe.is_special(2));
  EXPECT_FALSE(bpe.is_special(9));
  EXPECT_EQ(bpe.decode(Ids{0, 7, 9, 1}), "abc<tool>");
  EXPECT_EQ(bpe.decode(Ids{0, 7, 9, 1}, false), "<s>abc<tool></s>");

  // Every part of a text between special tokens has its own leading space, as in LLaMA's training.
  const Tokenizer spm = Tokenizer::from_gguf(small_spm().view(), "spm");
  EXPECT_EQ(spm.encode("a</s>ab<tool>b"), (Ids{6, 2, 6, 5, 8, 5}));
  EXPECT_TRUE(spm.is_special(2));
  EXPECT_FALSE(spm.is_special(8));
  EXPECT_EQ(spm.decode(Ids{1, 6, 5, 2}), "ab");
  EXPECT_EQ(spm.decode(Ids{1, 6, 5, 2}, false), "<s>ab</s>");
}

TEST(Tokenizer, EndsOfAText) {
  for (const bool is_bpe : {true, false}) {
    OwnedGgufVocab vocab = is_bpe ? small_bpe() : small_spm();
    const Ids body = Tokenizer::from_gguf(vocab.view(), "none").encode("ab");
    for (const auto& [add_bos, add_eos] : {std::pair(true, false), {false, true}, {true, true}}) {
      vocab.vocab.add_bos = add_bos;
      vocab.vocab.add_eos = add_eos;
      const Tokenizer first = Tokenizer::from_gguf(vocab.view(), "ends");
      Ids expected = body;
      if (add_bos) expected.insert(expected.begin(), *vocab.vocab.bos);
      if (add_eos) expected.push_back(*vocab.vocab.eos);
      EXPECT_EQ(first.encode("ab"), expected);
      EXPECT_EQ(first.encode("ab", false), body);
      const Tokenizer second = Tokenizer::deserialize(first.kind(), first.serialize(), "engine");
      EXPECT_EQ(second.encode("ab"), expected);
    }
  }
  // A SentencePiece file says nothing of it: LLaMA's and Mistral's go with the beginning token.
  EXPECT_EQ(testing::load_test_tokenizer("mistral").encode("Hello"), (Ids{1, 22557}));
  EXPECT_EQ(testing::load_test_tokenizer("opt").encode("Hello"), (Ids{31414}));
}

TEST(Tokenizer, LookUps) {
  const Tokenizer bpe = Tokenizer::from_gguf(small_bpe().view(), "bpe");
  EXPECT_EQ(bpe.vocab_size(), 11);
  EXPECT_EQ(bpe.token(8), "Ġab");
  EXPECT_EQ(bpe.token(10), "[EMPTY_10]");  // converters leave padding tokens without text
  EXPECT_EQ(bpe.id("abc"), 7);
  EXPECT_EQ(bpe.id("<tool>"), 9);
  EXPECT_EQ(bpe.id("nothing"), std::nullopt);
  const Tokenizer spm = testing::load_test_tokenizer("mistral");
  EXPECT_EQ(spm.vocab_size(), 32000);
  EXPECT_EQ(spm.token(22557), "▁Hello");
  EXPECT_EQ(spm.id("▁Hello"), 22557);
  EXPECT_EQ(spm.id("no such piece"), std::nullopt);
  for (const Tokenizer* tokenizer : {&bpe, &spm}) {
    for (int32_t id : {-1, tokenizer->vocab_size()}) {
      EXPECT_FALSE(tokenizer->is_special(id));
      expect_error([&] { tokenizer->token(id); }, "must be one of the vocabulary's [0, ",
                   ErrorCode::kInvalidArgument);
      expect_error([&] { tokenizer->decode(Ids{id}); }, "got " + std::to_string(id),
                   ErrorCode::kInvalidArgument);
    }
  }
}

TEST(Tokenizer, InvalidUtf8BecomesAReplacement) {
  for (const char* name : {"novel-2m", "mistral"}) {
    const Tokenizer tokenizer = testing::load_test_tokenizer(name);
    EXPECT_EQ(tokenizer.encode("a\xFF\xE5"), tokenizer.encode("a\uFFFD\uFFFD"));
    EXPECT_EQ(tokenizer.encode(""), tokenizer.encode(std::string_view()));
    const std::string text("a\0b", 3);
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
  }
}

TEST(Tokenizer, SerializedFormsAreTheSameTokenizer) {
  const std::vector<std::string> texts = testing::random_texts(50);
  for (const char* name : testing::kTestTokenizers) {
    const Tokenizer first = testing::load_test_tokenizer(name);
    const Tokenizer second = Tokenizer::deserialize(first.kind(), first.serialize(), "engine");
    EXPECT_EQ(second.kind(), first.kind());
    EXPECT_EQ(second.vocab_size(), first.vocab_size());
    for (const std::string& text : texts)
      for (const bool parse_special : {true, false})
        ASSERT_EQ(second.encode(text, true, parse_special), first.encode(text, true, parse_special))
            << name;
  }
  expect_error([] { Tokenizer::deserialize(static_cast<Tokenizer::Kind>(7), {}, "engine"); },
               "[engine] the tokenizer's kind must be 0 or 1, got 7");
}

TEST(Tokenizer, PreTokenizersDiffer) {
  const auto encode = [](const std::string& pre, const std::string& text) {
    return Tokenizer::from_gguf(testing::read_gguf_vocab("gpt_neox", pre).view(), pre).encode(text);
  };
  EXPECT_EQ(encode("gpt-2", " 1999").size(), 1u);
  EXPECT_EQ(encode("smollm", " 1999").size(), 5u);  // digits by themselves
  EXPECT_EQ(encode("starcoder", "in 1999"), encode("smollm", "in 1999"));
  EXPECT_NE(encode("gpt-neox", "e\u0301"), encode("gpt-2", "e\u0301"));  // composed first
  // A name that is not known is taken for "default", with a warning.
  EXPECT_EQ(encode("from-next-year", "it's 12345 ++"), encode("default", "it's 12345 ++"));
}

TEST(Tokenizer, FaultsOfAGgufVocabulary) {
  const auto load = [](auto change, OwnedGgufVocab vocab = small_bpe()) {
    return [change, vocab]() mutable {
      change(vocab);
      Tokenizer::from_gguf(vocab.view(), "m.gguf");
    };
  };
  using V = OwnedGgufVocab;
  expect_error(load([](V& v) { v.vocab.model = "bert"; }),
               "[m.gguf] tokenizer.ggml.model must be \"gpt2\" or \"llama\", got \"bert\"",
               ErrorCode::kUnsupported);
  expect_error(load([](V& v) { v.tokens.clear(); }),
               "[m.gguf] tokenizer.ggml.tokens must have between 1 and 2^31 - 1 entries, got 0");
  expect_error(load([](V& v) { v.tokens[7] = "ab"; }),
               "tokenizer.ggml.tokens must differ, got \"ab\" at 6 and at 7");
  expect_error(load([](V& v) { v.tokens[7] = "a\xFF"; }), "tokenizer.ggml.tokens[7] must be UTF-8");
  expect_error(load([](V& v) { v.vocab.token_types.pop_back(); }),
               "tokenizer.ggml.token_type must have as many entries as tokens, 11, got 10");
  expect_error(load([](V& v) { v.vocab.scores.resize(3); }),
               "tokenizer.ggml.scores must have as many entries as tokens, 11, got 3");
  expect_error(load([](V& v) { v.merges[1] = "ab d"; }), "tokenizer.ggml.merges");
  expect_error(load([](V& v) { v.merges[1] = "ab"; }),
               "tokenizer.ggml.merges[1] must be two tokens with a space between, got \"ab\"");
  expect_error(load([](V& v) { v.vocab.eos = 11; }),
               "tokenizer.ggml.eos_token_id must be in [0, 11), got 11");
  expect_error(load([](V& v) { v.vocab.bos.reset(), v.vocab.add_bos = true; }),
               "tokenizer.ggml.add_bos_token is true, so there must be a bos_token_id");
  expect_error(load([](V& v) { v.vocab.scores.clear(); }, small_spm()),
               "tokenizer.ggml.scores must be there for a vocabulary of model \"llama\"");
  expect_error(load([](V& v) { v.vocab.scores[4] = NAN; }, small_spm()),
               "the score of piece 4 must be finite, got NaN");
  expect_error(load([](V& v) { v.vocab.token_types[0] = 1; }, small_spm()),
               "there must be one unknown piece, got 0");
  expect_error(load([](V& v) { v.tokens[4] = "b"; }, small_spm()),
               "pieces must differ, got \"b\" again at 5");
  expect_error(load([](V& v) { v.vocab.token_types[4] = 6; }, small_spm()),
               "piece 4 is a byte and must look like <0x0A>, got \"a\"");
  const auto to_byte = [](V& v) { v.vocab.token_types[4] = 6, v.tokens[4] = "<0x41>"; };
  expect_error(load(to_byte, small_spm()),
               "there must be 256 byte pieces with byte_fallback and none without, got 1");
}

TEST(Tokenizer, FaultsOfATokenizerJson) {
  const std::string good = testing::read_test_file("novel-2m/tokenizer.json");
  const auto load = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    return [text] { Tokenizer::from_huggingface(text, "dir/tokenizer.json"); };
  };
  load("\"1.0\"", "\"1.0\"")();
  expect_error(load("\"1.0\"", "\"2.0\""),
               "[dir/tokenizer.json] tokenizer.json: version must be \"1.0\", got \"2.0\"");
  expect_error(load("\"type\": \"BPE\"", "\"type\": \"LSTM\""),
               "model: type must be BPE, WordPiece, WordLevel or Unigram, got \"LSTM\"");
  expect_error(load("\"id\": 2,", "\"id\": 7,"),
               "added_tokens: \"</s>\" must have the id 2, got 7");
  expect_error(load("\"type\": \"ByteLevel\"", "\"type\": \"ByteLayer\""), "tokenizer.json: ");
  expect_error([] { Tokenizer::from_huggingface("{", "x"); }, "[x] tokenizer.json: EOF");
}

TEST(Tokenizer, FaultsOfASentencePieceModel) {
  const auto load = [](std::string_view model) {
    return [model] { Tokenizer::from_sentencepiece(std::as_bytes(std::span(model)), "m.model"); };
  };
  expect_error(load(""), "[m.model] a SentencePiece model must have between 1 and 2^31 - 1 pieces");
  expect_error(load("{\"version\": 1}"), "[m.model] a SentencePiece model must be a ModelProto");
  const std::string good = testing::read_test_file("text/mistral/tokenizer.model.v1");
  expect_error(load(std::string_view(good).substr(0, good.size() / 2)), "[m.model] ");
}

TEST(Tokenizer, FaultsOfBpeFiles) {
  const auto load = [](const std::string& vocab, const std::string& merges) {
    return [=] { Tokenizer::from_bpe_files(vocab, merges, "dir"); };
  };
  const std::string vocab = R"({"a": 0, "b": 1, "ab": 2})";
  load(vocab, "#version: 0.2\na b\n")();
  expect_error(load("[]", ""), "[dir] vocab.json: invalid type");
  expect_error(load(vocab, "#version: 0.2\na b\nab\n"),
               "[dir] merges.txt: line 3 must be two tokens with a space between, got \"ab\"");
  expect_error(load(vocab, "a c\n"), "c");
  expect_error(load("{}", ""), "the vocabulary must not be empty");
}

}  // namespace
}  // namespace brayton
