// Streamed pieces concatenate to Tokenizer::decode of all ids, byte for byte, and none ends inside
// a UTF-8 sequence: for all tokenizers of tests/data, for every decoder that a tokenizer.json can
// name, and for bytes that are no text. What can be shown is shown at once.
#include <gtest/gtest.h>

#include "brayton/error.h"
#include "text/test_tokenizers.h"

namespace brayton {
namespace {

using testing::Random;
using Ids = std::vector<int32_t>;

// Neither overlong forms nor surrogates are tested for: only where sequences begin and end.
bool is_whole_utf8(const std::string& text) {
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<uint8_t>(text[i]);
    const size_t length = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (length == 0 || i + length > text.size()) return false;
    for (size_t k = 1; k < length; ++k)
      if ((static_cast<uint8_t>(text[i + k]) & 0xC0) != 0x80) return false;
    i += length;
  }
  return true;
}

std::string stream(const Tokenizer& tokenizer, const Ids& ids, bool skip_special) {
  StreamDecoder decoder(tokenizer, skip_special);
  std::string text;
  for (int32_t id : ids) {
    const std::string piece = decoder.push(id);
    EXPECT_TRUE(is_whole_utf8(piece)) << piece;
    text += piece;
  }
  const std::string last = decoder.finish();
  EXPECT_TRUE(is_whole_utf8(last)) << last;
  return text + last;
}

TEST(StreamDecoder, EqualsDecodeForAllTokenizers) {
  const uint64_t seed = 31;
  const std::vector<std::string> texts = testing::random_texts(300);
  for (const char* name : testing::kTestTokenizers) {
    const Tokenizer tokenizer = testing::load_test_tokenizer(name);
    Random random(seed);
    for (int i = 0; i < 600; ++i) {
      Ids ids;
      if (i % 2) {
        ids = tokenizer.encode(texts[i / 2]);
      } else {
        ids.resize(random.below(40));
        for (int32_t& id : ids) id = static_cast<int32_t>(random.below(tokenizer.vocab_size()));
      }
      const bool skip_special = random.below(2) == 0;
      ASSERT_EQ(stream(tokenizer, ids, skip_special), tokenizer.decode(ids, skip_special))
          << name << ", seed " << seed << ", case " << i;
    }
  }
}

TEST(StreamDecoder, EveryDecoderEqualsTheCrate) {
  const Json golden = parse_json(testing::read_test_file("text/decoders.json"), "decoders.json");
  ASSERT_EQ(golden.size(), 18u);
  for (const Json& entry : golden) {
    const Tokenizer tokenizer = Tokenizer::from_huggingface(entry["tokenizer"].dump(), "golden");
    for (const Json& expected : entry["cases"]) {
      const Ids ids = expected["ids"].get<Ids>();
      const std::string what = entry["tokenizer"]["decoder"].dump() + expected["ids"].dump();
      EXPECT_EQ(tokenizer.decode(ids), expected["text"]) << what;
      EXPECT_EQ(stream(tokenizer, ids, true), expected["text"]) << what;
      if (expected["with_special"].is_null()) continue;
      EXPECT_EQ(tokenizer.decode(ids, false), expected["with_special"]) << what;
      EXPECT_EQ(stream(tokenizer, ids, false), expected["with_special"]) << what;
    }
  }
}

// SentencePiece's rule, where the crate tokenizers would drop the good character too.
TEST(StreamDecoder, FaultyBytesLeaveGoodOnesInPlace) {
  const Tokenizer tokenizer = testing::load_test_tokenizer("mistral");
  const auto byte = [](int value) { return 3 + value; };
  const Ids ids = {byte(0xE5), byte(0x8F), byte(0xAB), byte(0xFF), byte(0xE5), byte(0x8F)};
  EXPECT_EQ(tokenizer.decode(ids), "叫\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(stream(tokenizer, ids, true), "叫\uFFFD\uFFFD\uFFFD");
}

TEST(StreamDecoder, HoldsBackOnlyWhatIsUndecided) {
  for (const char* name : {"gpt2", "smollm2", "mistral", "bert"}) {
    const Tokenizer tokenizer = testing::load_test_tokenizer(name);
    const Ids ids = tokenizer.encode("the quick brown fox, and 12 more words.", false);
    StreamDecoder decoder(tokenizer);
    std::string text;
    for (size_t i = 0; i < ids.size(); ++i) {
      text += decoder.push(ids[i]);
      ASSERT_EQ(text, tokenizer.decode(std::span(ids).first(i + 1))) << name << " " << i;
    }
    EXPECT_EQ(decoder.finish(), "");
  }
  const Tokenizer tokenizer = testing::load_test_tokenizer("mistral");
  StreamDecoder decoder(tokenizer);
  EXPECT_EQ(decoder.push(3 + 0xF0), "");
  EXPECT_EQ(decoder.push(3 + 0x9F), "");
  EXPECT_EQ(decoder.push(3 + 0xA6), "");
  EXPECT_EQ(decoder.push(3 + 0x99), "🦙");  // at once, though more bytes could follow
}

TEST(StreamDecoder, OutlivesItsTokenizerAndRefusesUnknownIds) {
  std::optional<Tokenizer> tokenizer = testing::load_test_tokenizer("novel-2m");
  const Ids ids = tokenizer->encode("Hello", false);
  StreamDecoder decoder(*tokenizer);
  tokenizer.reset();
  std::string text;
  for (int32_t id : ids) text += decoder.push(id);
  EXPECT_EQ(text + decoder.finish(), "Hello");
  for (int32_t id : {-1, 8192}) {
    try {
      decoder.push(id);
      FAIL() << id;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      EXPECT_NE(std::string(error.what())
                    .find("one of the vocabulary's [0, 8192), got " + std::to_string(id)),
                std::string::npos)
          << error.what();
    }
  }
}

}  // namespace
}  // namespace brayton
