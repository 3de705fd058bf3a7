// The level is chosen by what the CPU has, and a forced one that it lacks says what is missing.
#include "backends/cpu/cpu_level.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "brayton/error.h"

namespace brayton::cpu {
namespace {

TEST(CpuLevel, EmptyNameIsTheBestAvailable) {
  ASSERT_FALSE(available_levels().empty());
  EXPECT_EQ(available_levels().front(), Level::kBaseline);
  EXPECT_EQ(choose_level(""), available_levels().back());
  for (const Level level : available_levels())
    EXPECT_EQ(choose_level(std::string(level_name(level))), level);
}

TEST(CpuLevel, UnknownNameIsRefused) {
  try {
    choose_level("avx1024");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_STREQ(error.what(),
                 "[cpu] level must be baseline, sse42, avx2 or avx512, got \"avx1024\"");
  }
}

TEST(CpuLevel, MissingFeaturesAreNamed) {
  for (const Level level : {Level::kSse42, Level::kAvx2, Level::kAvx512}) {
    const std::vector<std::string> missing = missing_features(level);
    if (missing.empty()) continue;
    try {
      choose_level(std::string(level_name(level)));
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
      for (const std::string& feature : missing)
        EXPECT_NE(std::string(error.what()).find(feature), std::string::npos) << error.what();
    }
  }
}

// The operating system's list is an independent reading of CPUID and XCR0.
TEST(CpuLevel, ProbeAgreesWithTheOperatingSystem) {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line) && line.rfind("flags", 0) != 0) {
  }
  if (line.empty()) return;  // not x86
  std::istringstream words(line);
  std::vector<std::string> flags;
  for (std::string word; words >> word;) flags.push_back(word);
  const auto has = [&](const char* name) {
    return std::find(flags.begin(), flags.end(), name) != flags.end();
  };
  const bool sse42 = has("sse4_2") && has("popcnt");
  const bool avx2 = sse42 && has("avx2") && has("fma") && has("f16c") && has("bmi2");
  const bool avx512 = avx2 && has("avx512f") && has("avx512bw") && has("avx512dq") &&
                      has("avx512vl") && has("avx512_vnni");
  EXPECT_EQ(missing_features(Level::kSse42).empty(), sse42);
  EXPECT_EQ(missing_features(Level::kAvx2).empty(), avx2);
  EXPECT_EQ(missing_features(Level::kAvx512).empty(), avx512);
}

}  // namespace
}  // namespace brayton::cpu
