// Ids and texts equal those of the Python packages tokenizers and sentencepiece: on every line of
// WikiText-2's test split, on 10^4 random texts, and decoded from random ids. The answers are in
// tests/data/text/golden.json as hashes.
#include <gtest/gtest.h>

#include <functional>
#include <thread>

#include "core/format.h"
#include "text/test_tokenizers.h"

namespace brayton {
namespace {

using testing::Random;

// FNV-1a over 32-bit values; a text goes in as its length and its bytes.
class Hash {
 public:
  template <class Values>
  void add(const Values& values) {
    mix(values.size());
    for (const auto value : values) {
      if constexpr (sizeof(value) == 1)
        mix(static_cast<uint8_t>(value));
      else
        mix(static_cast<uint32_t>(value));
    }
  }
  std::string hex() const { return format("{:016x}", value_); }

 private:
  void mix(uint64_t value) { value_ = (value_ ^ value) * 0x100000001B3; }

  uint64_t value_ = 0xCBF29CE484222325;
};

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines(1);
  for (char c : text) {
    if (c == '\n')
      lines.emplace_back();
    else
      lines.back() += c;
  }
  return lines;
}

struct Corpora {
  std::vector<std::string> wiki = lines_of(testing::read_test_file("text/wikitext2/wiki.test.raw"));
  std::vector<std::string> random = testing::random_texts();
  Json golden = parse_json(testing::read_test_file("text/golden.json"), "golden.json");
};

const Corpora& corpora() {
  static const Corpora corpora;
  return corpora;
}

// What differs, or nothing.
std::string compare(const Tokenizer& tokenizer, const std::vector<std::string>& texts,
                    bool parse_special, const Json& expected) {
  Hash ids_hash, text_hash;
  size_t count = 0;
  for (const std::string& text : texts) {
    const std::vector<int32_t> ids = tokenizer.encode(text, false, parse_special);
    count += ids.size();
    ids_hash.add(ids);
    text_hash.add(tokenizer.decode(ids));
  }
  if (ids_hash.hex() != expected["ids"])
    return format("ids differ ({} of them, {} expected)", count, expected["count"].get<size_t>());
  return text_hash.hex() == expected["text"] ? "" : "decoded texts differ";
}

std::string compare_random_ids(const Tokenizer& tokenizer, const Json& expected) {
  Random random(4202);
  Hash hash;
  for (int i = 0; i < 2000; ++i) {
    std::vector<int32_t> ids(1 + random.below(24));
    for (int32_t& id : ids) id = static_cast<int32_t>(random.below(tokenizer.vocab_size()));
    hash.add(tokenizer.decode(ids));
  }
  return hash.hex() == expected["text"] ? "" : "texts of random ids differ";
}

std::string compare_all(const std::string& name) {
  const std::string source = name.ends_with("_gguf") ? name.substr(0, name.size() - 5) : name;
  const Json& golden = corpora().golden["tokenizers"][source];
  const Tokenizer tokenizer = testing::load_test_tokenizer(name);
  std::string faults;
  const auto note = [&](const std::string& what, const std::string& fault) {
    if (!fault.empty()) faults += format("{}, {}: {}\n", name, what, fault);
  };
  for (const auto& [kind, expected] : golden.items()) {
    const bool plain = kind.ends_with("_plain");
    // With no special token in the text both ways are one. Mistral's two forms are one model.
    if (kind == "wiki_plain" && (golden.contains("wiki") || name == "mistral_gguf")) continue;
    if (kind.starts_with("wiki")) note(kind, compare(tokenizer, corpora().wiki, !plain, expected));
    if (kind == "random" || kind == "random_plain")
      note(kind, compare(tokenizer, corpora().random, !plain, expected));
  }
  // The GGUF of GPT-NeoX has padding tokens behind the vocabulary.
  if (tokenizer.vocab_size() == golden["vocab_size"])
    note("random ids", compare_random_ids(tokenizer, golden["random_ids"]));
  else if (name != "gpt_neox_gguf")
    note("vocabulary", format("{} ids", tokenizer.vocab_size()));
  return faults;
}

TEST(TextGolden, TheRandomTextsAreThoseOfTheOracle) {
  Hash hash;
  for (const std::string& text : corpora().random) hash.add(text);
  EXPECT_EQ(hash.hex(), corpora().golden["random_texts"]);
}

TEST(TextGolden, EqualsThePythonPackages) {
  corpora();
  const size_t count = std::size(testing::kTestTokenizers);
  std::vector<std::string> faults(count);
  const auto work = [&](size_t first) {
    for (size_t i = first; i < count; i += 2) faults[i] = compare_all(testing::kTestTokenizers[i]);
  };
  std::thread other(work, 1);
  work(0);
  other.join();
  for (const std::string& fault : faults) EXPECT_EQ(fault, "");
}

TEST(TextGolden, SmolLm2PromptsOfTransformers) {
  const Tokenizer tokenizer = testing::load_test_tokenizer("smollm2");
  const Json chats = parse_json(testing::read_test_file("text/smollm2/chat.json"), "chat.json");
  ASSERT_EQ(chats.size(), 3u);
  for (const Json& chat : chats)
    EXPECT_EQ(tokenizer.encode(chat["rendered"].get<std::string>()),
              chat["ids"].get<std::vector<int32_t>>());
}

// Ids that HF's Falcon tokenizer gives, from the vocabulary tests of llama.cpp.
TEST(TextGolden, FalconByHand) {
  const Tokenizer tokenizer = testing::load_test_tokenizer("falcon");
  using Ids = std::vector<int32_t>;
  EXPECT_EQ(tokenizer.encode("ied 4 ½ months"), (Ids{878, 204, 31, 3068, 133, 2137}));
  EXPECT_EQ(tokenizer.encode("w048 7tuijk dsdfhu"),
            (Ids{98, 55866, 204, 34, 16682, 7149, 36190, 6869, 11481}));
  EXPECT_EQ(tokenizer.encode("нещо на Български"),
            (Ids{150, 133, 6207, 151, 215, 150, 134, 5052, 133, 6279, 5052, 223, 151, 216, 49679,
                 123, 53110, 47043, 7795}));
  EXPECT_EQ(tokenizer.encode("33333333"), (Ids{22287, 22287, 3138}));
}

}  // namespace
}  // namespace brayton
