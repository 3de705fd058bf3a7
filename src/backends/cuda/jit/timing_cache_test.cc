// Results survive in a file and in an engine's bytes; nothing faulty or foreign is believed.
#include "backends/cuda/jit/timing_cache.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "core/format.h"

namespace brayton::cuda {
namespace {

namespace fs = std::filesystem;

const TimingIdentity kH100{"NVIDIA H100 80GB HBM3", 13000, 0x0123456789abcdef};

class TimingCacheTest : public testing::Test {
 protected:
  TimingCacheTest() {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(testing::TempDir()) / format("timing_cache_{}_{}", ::getpid(), test->name());
  }
  ~TimingCacheTest() override { fs::remove_all(folder_); }

  TimingCache open(const TimingIdentity& identity = kH100) const {
    return TimingCache(folder_.string(), identity);
  }
  void fill() const {
    TimingCache cache = open();
    cache.put("layer a", "skinny", {{"skinny", 21.004}, {"slow", HUGE_VAL}});
    cache.put("layer b", "cublaslt", {{"cublaslt", 15}});
    cache.save();
  }
  static std::string tactic(const TimingCache& cache, const std::string& key) {
    return cache.find(key).value_or("none");
  }

  fs::path folder_;
};

TEST_F(TimingCacheTest, OutlivesTheProcess) {
  fill();
  const TimingCache cache = open();
  EXPECT_EQ(cache.path(),
            folder_.string() + "/timings-nvidia-h100-80gb-hbm3-13000-0123456789abcdef.json");
  EXPECT_EQ(tactic(cache, "layer a"), "skinny");
  EXPECT_EQ(tactic(cache, "layer b"), "cublaslt");
  EXPECT_EQ(tactic(cache, "layer c"), "none");
}

TEST_F(TimingCacheTest, AnotherDeviceDriverOrSourceSeesNothing) {
  fill();
  TimingIdentity other = kH100;
  other.device = "NVIDIA H100 PCIe";
  EXPECT_EQ(tactic(open(other), "layer a"), "none");
  other = kH100;
  ++other.driver;
  EXPECT_EQ(tactic(open(other), "layer a"), "none");
  other = kH100;
  ++other.sources;
  EXPECT_EQ(tactic(open(other), "layer a"), "none");
  // Not even under the right name.
  fs::copy_file(open().path(), open(other).path());
  EXPECT_EQ(tactic(open(other), "layer a"), "none");
}

TEST_F(TimingCacheTest, DamagedFilesAreWrittenAnew) {
  fill();
  const std::string path = open().path();
  std::ifstream whole(path);
  const std::string text{std::istreambuf_iterator<char>(whole), std::istreambuf_iterator<char>()};
  for (const std::string& damaged :
       {text.substr(0, text.size() / 2), std::string(), std::string("[]"), std::string("\0\xff", 2),
        std::string(R"({"format": "1"})"),
        format(R"({{"format": 1, "of": "{}", "entries": {{"layer a": 3}}}})", open().image_name()),
        format(R"({{"format": 1, "of": "{}", "entries": {{"layer a": {{"tactic": 3}}}}}})",
               open().image_name())}) {
    std::ofstream(path, std::ios::binary) << damaged;
    TimingCache cache = open();
    EXPECT_EQ(tactic(cache, "layer a"), "none") << damaged;
    cache.put("layer a", "gemv", {});
    cache.save();
    EXPECT_EQ(tactic(open(), "layer a"), "gemv") << damaged;
  }
}

TEST_F(TimingCacheTest, TwoProcessesKeepBothTheirResults) {
  TimingCache first = open(), second = open();
  first.put("layer a", "skinny", {});
  second.put("layer b", "gemv", {});
  first.save();
  second.save();
  EXPECT_EQ(tactic(open(), "layer a"), "skinny");
  EXPECT_EQ(tactic(open(), "layer b"), "gemv");
  // No temporary files stay behind.
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 1);
}

TEST_F(TimingCacheTest, ImagesCarryResultsAndDoNotReplaceAny) {
  fill();
  const TimingCache from = open();
  TimingCache to("", kH100);
  EXPECT_TRUE(to.image().empty());
  to.put("layer a", "gemv", {});
  to.add_image(from.image());
  EXPECT_EQ(tactic(to, "layer a"), "gemv");
  EXPECT_EQ(tactic(to, "layer b"), "cublaslt");
  to.save();  // nowhere

  TimingIdentity pcie = kH100;
  pcie.device = "NVIDIA H100 PCIe";
  TimingCache other("", pcie);
  other.add_image(from.image());
  other.add_image({});
  EXPECT_EQ(tactic(other, "layer b"), "none");
  EXPECT_NE(other.image_name(), from.image_name());
}

TEST_F(TimingCacheTest, AFolderThatCannotBeWrittenHarmsNothing) {
  std::ofstream(folder_.string()) << "a file";
  TimingCache cache = open();
  cache.put("layer a", "gemv", {});
  cache.save();
  EXPECT_EQ(tactic(cache, "layer a"), "gemv");
}

}  // namespace
}  // namespace brayton::cuda
