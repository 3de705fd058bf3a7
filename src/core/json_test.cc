// Hostile JSON ends in an error that names file, field and value; numbers keep their exact value.
#include "core/json.h"

#include <gtest/gtest.h>

#include <random>

#include "brayton/error.h"

namespace brayton {
namespace {

template <class Call>
std::string message_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidModel);
    return error.what();
  }
  return "no error";
}

std::string nested(int levels) { return std::string(levels, '[') + std::string(levels, ']'); }

TEST(JsonTest, FaultsNameTheFileAndThePlace) {
  const std::string message = message_of([] { parse_json("{\"a\": 1,}", "config.json"); });
  EXPECT_EQ(message.rfind("[config.json] must be JSON: ", 0), 0u) << message;
  EXPECT_NE(message.find("column 9"), std::string::npos) << message;
  for (const char* text : {"", "{", "{\"a\":1}x", "\"\xff\"", "[1e999]", "nul", "\"\\ud800\""})
    EXPECT_EQ(message_of([&] { parse_json(text, "f"); }).rfind("[f] must be JSON: ", 0), 0u)
        << text;
}

TEST(JsonTest, NestingIsLimitedBeforeTheStackIs) {
  EXPECT_EQ(message_of([] { parse_json(nested(64), "f"); }), "no error");
  EXPECT_EQ(message_of([] { parse_json(nested(63).insert(63, "[1]"), "f"); }), "no error");
  const std::string limit = "[f] JSON must nest at most 64 levels";
  EXPECT_EQ(message_of([] { parse_json(nested(65), "f"); }), limit);
  EXPECT_EQ(message_of([] { parse_json(std::string(1 << 20, '['), "f"); }), limit);
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  EXPECT_EQ(message_of([&] { parse_json(objects, "f"); }), limit);
}

TEST(JsonTest, RandomDamageParsesOrThrows) {
  const std::string good = R"({"name": "\u00e9", "list": [1, -2.5e3, true, null, {"k": ""}]})";
  const unsigned seed = 20240611;
  std::mt19937 random(seed);
  for (int round = 0; round < 20'000; ++round) {
    std::string text = good;
    for (unsigned flips = random() % 4; flips-- > 0;)
      text[random() % text.size()] = static_cast<char>(random());
    text.resize(random() % 8 ? text.size() : random() % text.size());
    const std::string message = message_of([&] { parse_json(text, "f"); });
    ASSERT_TRUE(message == "no error" || message.rfind("[f] ", 0) == 0)
        << "seed " << seed << " round " << round << ": " << message;
  }
}

class JsonReaderTest : public testing::Test {
 protected:
  Json json_ = parse_json(R"({"n": 7, "whole": 4.0, "half": 0.5, "big": 18446744073709551615,
      "low": -9223372036854775808, "text": "x", "yes": true, "none": null, "list": [1, 2.5],
      "words": ["a"], "inner": {"n": "seven"},
      "long": "0123456789012345678901234567890123456789012345678901234567890123456789"})",
                          "f");
  JsonReader reader_{json_, "f"};
};

TEST_F(JsonReaderTest, ReadsWhatIsThere) {
  EXPECT_EQ(reader_.get_int({"n"}, 1, 7), 7);
  EXPECT_EQ(reader_.get_int({"absent", "n"}, 1, 7), 7);
  EXPECT_EQ(reader_.get_int({"whole"}, 0, 9), 4);
  EXPECT_EQ(reader_.get_int({"low"}, INT64_MIN, 0), INT64_MIN);
  EXPECT_EQ(reader_.get_int({"none"}, 0, 9, 5), 5);
  EXPECT_EQ(reader_.get_double({"half"}), 0.5);
  EXPECT_EQ(reader_.get_double({"n"}, 1.0), 7.0);
  EXPECT_EQ(reader_.get_double({"absent"}, 1.5), 1.5);
  EXPECT_TRUE(reader_.get_bool({"yes"}, false));
  EXPECT_TRUE(reader_.get_bool({"absent"}, true));
  EXPECT_EQ(reader_.get_string({"text"}), "x");
  EXPECT_EQ(reader_.get_string({"absent"}, "y"), "y");
  EXPECT_EQ(reader_.get_doubles("list"), (std::vector<double>{1, 2.5}));
  EXPECT_TRUE(reader_.has("n"));
  EXPECT_FALSE(reader_.has("none"));
}

TEST_F(JsonReaderTest, MessagesNameFieldRangeAndValue) {
  const auto int_of = [&](const char* field) {
    return message_of([&] { reader_.get_int({field}, 1, 6); });
  };
  EXPECT_EQ(int_of("n"), "[f] field 'n' must be an integer in [1, 6], got 7");
  EXPECT_EQ(int_of("half"), "[f] field 'half' must be an integer in [1, 6], got 0.5");
  EXPECT_EQ(int_of("big"),
            "[f] field 'big' must be an integer in [1, 6], got 18446744073709551615");
  EXPECT_EQ(int_of("text"), "[f] field 'text' must be an integer in [1, 6], got \"x\"");
  EXPECT_EQ(int_of("none"), "[f] field 'none' is missing");
  EXPECT_EQ(message_of([&] { reader_.get_int({"a", "b"}, 0, 1); }),
            "[f] field 'a' or 'b' is missing");
  EXPECT_EQ(message_of([&] { reader_.get_double({"yes"}); }),
            "[f] field 'yes' must be a finite number, got true");
  EXPECT_EQ(message_of([&] { reader_.get_bool({"n"}, false); }),
            "[f] field 'n' must be true or false, got 7");
  EXPECT_EQ(message_of([&] { reader_.get_string({"list"}); }),
            "[f] field 'list' must be a string, got [1,2.5]");
  EXPECT_EQ(message_of([&] { reader_.get_doubles("words"); }),
            "[f] field 'words' must be a list of numbers, got [\"a\"]");
  EXPECT_EQ(message_of([&] { reader_.get_int({"long"}, 0, 1); }),
            "[f] field 'long' must be an integer in [0, 1], got "
            "\"01234567890123456789012345678901234567890123456789012345...");
}

TEST_F(JsonReaderTest, NestedObjectsCarryTheirPath) {
  EXPECT_EQ(message_of([&] { reader_.object("inner").get_int({"n"}, 0, 9); }),
            "[f: inner] field 'n' must be an integer in [0, 9], got \"seven\"");
  EXPECT_EQ(message_of([&] { reader_.object("n"); }), "[f] field 'n' must be an object, got 7");
  EXPECT_EQ(message_of([] { JsonReader(Json(3), "g"); }), "[g] must be a JSON object, got 3");
}

}  // namespace
}  // namespace brayton
