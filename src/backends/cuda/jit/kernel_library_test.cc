// Kernels that were noted are compiled once, in parallel, and their images come from the engine
// before the disk cache before the compiler; images that do not fit are compiled again.
#include "backends/cuda/jit/kernel_library.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "backends/cuda/jit/disk_cache.h"
#include "core/format.h"

namespace brayton::cuda {
namespace {

namespace fs = std::filesystem;
using Source = KernelLibrary::Source;

constexpr EmbeddedSource kSources[] = {
    {"kernels/add.cuh", "extern \"C\" __global__ void add(float* x) { x[threadIdx.x] += N; }\n"},
    {"kernels/broken.cuh", "extern \"C\" __global__ void broken() { nothing(); }\n"},
};

KernelSpec add(int n) { return KernelSpec("add", "add").define("N", n); }

class KernelLibraryTest : public testing::Test {
 protected:
  KernelLibraryTest() {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ =
        fs::path(testing::TempDir()) / format("kernel_library_{}_{}", ::getpid(), test->name());
  }
  ~KernelLibraryTest() override { fs::remove_all(folder_); }

  std::unique_ptr<KernelLibrary> library(DiskCache* cache = nullptr,
                                         const std::string& arch = "sm_90a") {
    return std::make_unique<KernelLibrary>(nullptr, arch, compiler_, cache);
  }
  static std::vector<Source> sources(const KernelLibrary& library) {
    std::vector<Source> result;
    for (const auto& report : library.reports()) result.push_back(report.source);
    return result;
  }

  Compiler compiler_{BRAYTON_NVRTC_FOLDER, kSources};
  fs::path folder_;
};

TEST_F(KernelLibraryTest, CompilesWhatWasNotedOnce) {
  const auto kernels = library();
  for (int i = 0; i < 3; ++i)
    for (int n = 0; n < 5; ++n) kernels->note(add(n));
  std::vector<std::pair<int64_t, int64_t>> steps;
  kernels->compile_pending([&](int64_t done, int64_t total) { steps.emplace_back(done, total); });
  ASSERT_EQ(steps.size(), 5u);
  for (size_t i = 0; i < steps.size(); ++i)
    EXPECT_EQ(steps[i], std::pair(static_cast<int64_t>(i + 1), int64_t{5}));

  const auto reports = kernels->reports();
  ASSERT_EQ(reports.size(), 5u);
  for (size_t n = 0; n < reports.size(); ++n) {
    EXPECT_EQ(reports[n].kernel, format("add:add N={}", n));
    EXPECT_EQ(reports[n].source, Source::kCompiled);
    EXPECT_GT(reports[n].stats.registers, 0);
    EXPECT_GT(reports[n].seconds, 0);
  }
  EXPECT_EQ(kernels->rebuilt(), 0);
  EXPECT_EQ(kernels->late_compilations(), 0);

  // Nothing is left to do; what is noted later is.
  kernels->compile_pending([](int64_t, int64_t) { ADD_FAILURE(); });
  kernels->note(add(7));
  kernels->compile_pending();
  EXPECT_EQ(kernels->images().size(), 6u);
}

TEST_F(KernelLibraryTest, TheDiskCacheOutlivesTheLibrary) {
  DiskCache cache(folder_);
  for (const Source expected : {Source::kCompiled, Source::kCache}) {
    const auto kernels = library(&cache);
    kernels->note(add(1));
    kernels->note(add(2));
    kernels->compile_pending();
    EXPECT_EQ(sources(*kernels), (std::vector{expected, expected}));
  }
  // A damaged entry is compiled again and replaced.
  fs::resize_file(fs::directory_iterator(folder_)->path(), 100);
  const auto kernels = library(&cache);
  kernels->note(add(1));
  kernels->note(add(2));
  kernels->compile_pending();
  const auto from = sources(*kernels);
  EXPECT_EQ(std::ranges::count(from, Source::kCompiled), 1);
  const auto again = library(&cache);
  again->note(add(1));
  again->note(add(2));
  again->compile_pending();
  EXPECT_EQ(sources(*again), (std::vector{Source::kCache, Source::kCache}));
}

TEST_F(KernelLibraryTest, AnEnginesImagesComeFirst) {
  DiskCache cache(folder_);
  const auto first = library(&cache);
  first->note(add(1));
  first->note(add(2));
  first->compile_pending();

  const auto second = library(&cache);
  second->add_images(first->images());
  second->note(add(2));
  second->note(add(1));
  second->compile_pending();
  EXPECT_EQ(sources(*second), (std::vector{Source::kEngine, Source::kEngine}));
  EXPECT_EQ(second->images(), first->images());
  EXPECT_EQ(second->reports()[0].stats.registers, first->reports()[1].stats.registers);
  EXPECT_EQ(second->rebuilt(), 0);
}

TEST_F(KernelLibraryTest, ImagesThatDoNotFitAreCompiledAgain) {
  const auto first = library();
  for (int n = 0; n < 3; ++n) first->note(add(n));
  first->compile_pending();
  KernelImages images = first->images();
  images.begin()->second.resize(images.begin()->second.size() / 2);

  const auto second = library();
  second->add_images(images);
  for (int n = 0; n < 3; ++n) second->note(add(n));
  second->compile_pending();
  EXPECT_EQ(std::ranges::count(sources(*second), Source::kCompiled), 1);
  EXPECT_EQ(second->rebuilt(), 1);
  EXPECT_EQ(second->images(), first->images());

  const auto other = library(nullptr, "sm_80");
  other->add_images(images);
  other->note(add(1));
  other->compile_pending();
  EXPECT_EQ(sources(*other), std::vector{Source::kCompiled});
  EXPECT_EQ(other->rebuilt(), 1);
  EXPECT_TRUE(other->images().begin()->first.starts_with("sm_80 "));
}

TEST_F(KernelLibraryTest, OneFaultEndsTheCompilation) {
  const auto kernels = library();
  kernels->note(add(1));
  kernels->note(KernelSpec("broken", "broken"));
  for (int i = 0; i < 2; ++i) {
    try {
      kernels->compile_pending();
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInternal);
      EXPECT_NE(std::string(error.what()).find("broken:broken"), std::string::npos);
    }
  }
}

TEST_F(KernelLibraryTest, ProgressMayCancel) {
  const auto kernels = library();
  for (int n = 0; n < 20; ++n) kernels->note(add(n));
  EXPECT_THROW(kernels->compile_pending([](int64_t done, int64_t) {
    if (done == 2) throw Error(ErrorCode::kCancelled, "enough");
  }),
               Error);
  EXPECT_LT(kernels->images().size(), 20u);
  kernels->compile_pending();
  EXPECT_EQ(kernels->images().size(), 20u);
}

}  // namespace
}  // namespace brayton::cuda
