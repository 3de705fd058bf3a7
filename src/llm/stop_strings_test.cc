// A text cut into any pieces ends before the first stop string, and nothing else is lost.
#include "llm/stop_strings.h"

#include <gtest/gtest.h>

#include <random>

namespace brayton {
namespace {

std::string run(const std::vector<std::string>& stops, const std::vector<std::string>& pieces) {
  StopStrings matcher(stops);
  std::string out;
  for (const std::string& piece : pieces) out += matcher.push(piece);
  if (!matcher.found()) out += matcher.finish();
  return out;
}

TEST(StopStrings, EndsBeforeAStopAcrossPieces) {
  EXPECT_EQ(run({"\n\n"}, {"one\n", "\ntwo"}), "one");
  EXPECT_EQ(run({"END", "STOP"}, {"a S", "TO", "P END"}), "a ");
}

TEST(StopStrings, LetsOutWhatOnlyBeganLikeAStop) {
  StopStrings matcher({"STOP"});
  EXPECT_EQ(matcher.push("a ST"), "a ");
  EXPECT_EQ(matcher.push("ART"), "START");
  EXPECT_EQ(run({"STOP"}, {"a STO"}), "a STO");
}

TEST(StopStrings, TheEarliestOfSeveralWins) {
  EXPECT_EQ(run({"bcd", "b"}, {"abcd"}), "a");
  EXPECT_EQ(run({"cd", "bcx"}, {"ab", "cd"}), "ab");
}

TEST(StopStrings, EqualsAPlainSearchForRandomTexts) {
  const unsigned seed = 7;
  std::mt19937 random(seed);
  for (int round = 0; round < 5000; ++round) {
    std::string text;
    for (unsigned i = random() % 30; i > 0; --i) text += static_cast<char>('a' + random() % 2);
    std::vector<std::string> stops;
    for (unsigned i = random() % 3; i > 0; --i) {
      std::string stop;
      for (unsigned k = 1 + random() % 4; k > 0; --k) stop += static_cast<char>('a' + random() % 2);
      stops.push_back(stop);
    }
    std::vector<std::string> pieces;
    for (size_t at = 0; at < text.size();) {
      const size_t n = 1 + random() % 5;
      pieces.push_back(text.substr(at, n));
      at += n;
    }
    // A stream can know a stop only when it is complete: the one that ends first is found first,
    // within the piece that completes it the one that begins first.
    size_t seen = 0;
    std::string expected = text;
    for (const std::string& piece : pieces) {
      seen += piece.size();
      size_t first = std::string::npos;
      for (const std::string& stop : stops)
        first = std::min(first, text.substr(0, seen).find(stop));
      if (first != std::string::npos) {
        expected = text.substr(0, first);
        break;
      }
    }
    EXPECT_EQ(run(stops, pieces), expected) << "seed " << seed << " round " << round;
  }
}

}  // namespace
}  // namespace brayton
