// On a GPU: images are loaded and run, from every source; what the driver refuses is compiled
// again; a kernel that nobody planned is compiled at its launch and counted.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "backends/cuda/jit/disk_cache.h"
#include "backends/cuda/jit/kernel_library.h"
#include "core/format.h"

namespace brayton::cuda {
namespace {

// y[0] = the sum of 0 .. N - 1, by way of dynamic shared memory
constexpr EmbeddedSource kSources[] = {
    {"kernels/sum.cuh",
     "extern \"C\" __global__ void sum(int* y) {\n"
     "  extern __shared__ int s[];\n"
     "  for (int i = threadIdx.x; i < N; i += blockDim.x) s[i] = i;\n"
     "  __syncthreads();\n"
     "  if (threadIdx.x != 0) return;\n"
     "  int total = 0;\n"
     "  for (int i = 0; i < N; ++i) total += s[i];\n"
     "  y[0] = total;\n"
     "}\n"},
};

KernelSpec sum(int n) { return KernelSpec("sum", "sum").define("N", n); }

class KernelLibraryGpuTest : public testing::Test {
 protected:
  KernelLibraryGpuTest() : driver_(Driver::open()) {
    driver_.check(driver_.cuDeviceGet(&device_, 0), "cuDeviceGet");
    driver_.check(driver_.cuDevicePrimaryCtxRetain(&context_, device_), "cuDevicePrimaryCtxRetain");
    driver_.check(driver_.cuCtxSetCurrent(context_), "cuCtxSetCurrent");
    const int major = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
    const int minor = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
    arch_ = format("sm_{}{}{}", major, minor, major == 9 ? "a" : "");
  }
  ~KernelLibraryGpuTest() override { driver_.cuDevicePrimaryCtxRelease(device_); }

  int attribute(CUdevice_attribute which) const {
    int value = 0;
    driver_.check(driver_.cuDeviceGetAttribute(&value, which, device_), "cuDeviceGetAttribute");
    return value;
  }
  std::unique_ptr<KernelLibrary> library(const std::string& arch, DiskCache* cache = nullptr) {
    return std::make_unique<KernelLibrary>(&driver_, arch, compiler_, cache);
  }
  // What sum(n) computes with n ints of shared memory.
  int run(KernelLibrary& library, int n) {
    CUdeviceptr y = 0;
    driver_.check(driver_.cuMemAlloc(&y, sizeof(int)), "cuMemAlloc");
    CUlaunchConfig config{};
    config.gridDimX = config.gridDimY = config.gridDimZ = 1;
    config.blockDimX = 64;
    config.blockDimY = config.blockDimZ = 1;
    config.sharedMemBytes = static_cast<unsigned>(n) * sizeof(int);
    void* parameters[] = {&y};
    driver_.check(driver_.cuLaunchKernelEx(&config, library.function(sum(n), config.sharedMemBytes),
                                           parameters, nullptr),
                  "cuLaunchKernelEx", sum(n).str());
    int result = -1;
    driver_.check(driver_.cuMemcpyDtoHAsync(&result, y, sizeof(int), nullptr), "cuMemcpyDtoHAsync");
    driver_.check(driver_.cuStreamSynchronize(nullptr), "cuStreamSynchronize");
    driver_.cuMemFree(y);
    return result;
  }
  // Expects every kernel of `library` to come from `source`, and to run.
  void expect_runs(KernelLibrary& library, KernelLibrary::Source source) {
    for (const auto& report : library.reports()) {
      EXPECT_EQ(report.source, source) << report.kernel;
      EXPECT_GT(report.stats.registers, 0) << report.kernel;
    }
    for (const int n : kSizes) EXPECT_EQ(run(library, n), n * (n - 1) / 2) << n;
    EXPECT_EQ(library.late_compilations(), 0);
  }
  static void note_all(KernelLibrary& library) {
    for (const int n : kSizes) library.note(sum(n));
  }

  static constexpr int kSizes[] = {1, 1000, 20'000};  // the last: 80 KB of shared memory
  const Driver& driver_;
  CUdevice device_ = 0;
  CUcontext context_ = nullptr;
  std::string arch_;
  Compiler compiler_{BRAYTON_NVRTC_FOLDER, kSources};
};

TEST_F(KernelLibraryGpuTest, RunsWhatItCompiled) {
  for (const std::string& arch : {arch_, std::string("compute_80")}) {
    SCOPED_TRACE(arch);
    const auto first = library(arch);
    note_all(*first);
    first->compile_pending();
    expect_runs(*first, KernelLibrary::Source::kCompiled);

    const auto second = library(arch);
    second->add_images(first->images());
    note_all(*second);
    second->compile_pending();
    expect_runs(*second, KernelLibrary::Source::kEngine);
    EXPECT_EQ(second->rebuilt(), 0);
  }
}

TEST_F(KernelLibraryGpuTest, ImagesThatTheDriverRefusesAreCompiledAgain) {
  const auto folder = std::filesystem::path(testing::TempDir()) / format("refused_{}", ::getpid());
  {
    DiskCache cache(folder);
    // Sound images of an architecture that is not this one, under the names of this one.
    const std::string foreign = arch_ == "sm_75" ? "sm_80" : "sm_75";
    KernelImages images;
    for (const int n : kSizes) {
      const std::vector<std::byte> image = pack_kernel(compiler_.compile(sum(n), foreign));
      images[compiler_.key(sum(n), arch_)] = image;
      cache.put(format("{} nvrtc {}", compiler_.key(sum(n), arch_), compiler_.nvrtc_version()),
                image);
    }
    const auto refused = library(arch_, &cache);
    refused->add_images(images);
    note_all(*refused);
    refused->compile_pending();
    expect_runs(*refused, KernelLibrary::Source::kCompiled);
    EXPECT_EQ(refused->rebuilt(), 3);

    const auto again = library(arch_, &cache);
    note_all(*again);
    again->compile_pending();
    expect_runs(*again, KernelLibrary::Source::kCache);
    EXPECT_EQ(again->rebuilt(), 0);
  }
  std::filesystem::remove_all(folder);
}

TEST_F(KernelLibraryGpuTest, UnplannedKernelsAreCompiledAtTheirLaunchAndCounted) {
  const auto kernels = library(arch_);
  EXPECT_EQ(run(*kernels, 10), 45);
  EXPECT_EQ(run(*kernels, 10), 45);
  EXPECT_EQ(kernels->late_compilations(), 1);
}

}  // namespace
}  // namespace brayton::cuda
