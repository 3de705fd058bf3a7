// Kernels are compiled for any architecture without a GPU, by several threads at once; what cannot
// be compiled says where and why.
#include "backends/cuda/jit/compiler.h"

#include <gtest/gtest.h>

#include <cstring>
#include <thread>

#include "brayton/error.h"
#include "core/format.h"

namespace brayton::cuda {
namespace {

constexpr EmbeddedSource kSources[] = {
    {"device/scale.cuh",
     "#pragma once\n"
     "template <class T, int N>\n"
     "__device__ T scale(T x) { return x * N; }\n"},
    {"device/unused.cuh", "#error never included\n"},
    {"kernels/broken.cuh", "extern \"C\" __global__ void run(float* x) {\n  x[0] = nowhere;\n}\n"},
    {"kernels/scale.cuh",
     "#include \"device/scale.cuh\"\n"
     "extern \"C\" __global__ void run(T* x) {\n"
     "  __shared__ float s[N];\n"
     "  s[threadIdx.x] = x[threadIdx.x];\n"
     "  __syncthreads();\n"
     "  x[threadIdx.x] = FACTOR * scale<T, N>(s[N - 1 - threadIdx.x]);\n"
     "}\n"},
    {"kernels/stack.cuh",
     "extern \"C\" __global__ void run(float* x, int i) {\n"
     "  float a[64];\n"
     "  for (int k = 0; k < 64; ++k) a[k] = x[k * i];\n"
     "  for (int k = 0; k < 64; ++k) x[k] = a[k * i & 63];\n"
     "}\n"},
};

Compiler compiler() { return Compiler(BRAYTON_NVRTC_FOLDER, kSources); }

KernelSpec scale_spec(int n = 128) {
  return KernelSpec("scale", "run").type("T", DType::kF32).define("N", n).define("FACTOR", "2.5f");
}

Error error_of(const Compiler& compiler, const KernelSpec& spec, const std::string& arch) {
  try {
    compiler.compile(spec, arch);
  } catch (const Error& error) {
    return error;
  }
  return Error(ErrorCode::kInternal, "no error");
}

bool is_elf(const std::vector<std::byte>& image) {
  return image.size() > 4 && std::memcmp(image.data(),
                                         "\x7f"
                                         "ELF",
                                         4) == 0;
}

// N and T are template parameters in device/ and in NVRTC's own header as well.
TEST(CompilerTest, MakesACubin) {
  for (const char* arch : {"sm_80", "sm_90a", "sm_120"}) {
    const CompiledKernel kernel = compiler().compile(scale_spec(), arch);
    EXPECT_TRUE(is_elf(kernel.image)) << arch;
    EXPECT_EQ(kernel.entry, "run");
    EXPECT_GT(kernel.stats.registers, 0) << arch;
    EXPECT_GE(kernel.stats.shared_bytes, 512) << arch;
    EXPECT_EQ(kernel.stats.spill_bytes + kernel.stats.stack_bytes, 0) << arch;
    EXPECT_TRUE(kernel.stats.warnings.empty()) << kernel.stats.warnings.front();
    EXPECT_TRUE(unpack_kernel(pack_kernel(kernel))) << arch;
  }
}

TEST(CompilerTest, MakesPtx) {
  const CompiledKernel kernel = compiler().compile(scale_spec(), "compute_80");
  const std::string text(reinterpret_cast<const char*>(kernel.image.data()));
  EXPECT_EQ(text.size() + 1, kernel.image.size());
  EXPECT_NE(text.find(".target sm_80"), std::string::npos);
  EXPECT_TRUE(unpack_kernel(pack_kernel(kernel)));
}

TEST(CompilerTest, ReportsTheStackFrame) {
  EXPECT_EQ(compiler().compile(KernelSpec("stack", "run"), "sm_90a").stats.stack_bytes, 256);
}

TEST(CompilerTest, FaultsOfTheSourceAreBugs) {
  const Error error = error_of(compiler(), KernelSpec("broken", "run").define("D", 7), "sm_90a");
  EXPECT_EQ(error.code(), ErrorCode::kInternal);
  const std::string text = error.what();
  EXPECT_TRUE(text.starts_with("[cuda] broken:run D=7 does not compile for sm_90a (")) << text;
  EXPECT_NE(text.find("kernels/broken.cuh(2): error: identifier \"nowhere\" is undefined"),
            std::string::npos)
      << text;
}

TEST(CompilerTest, RefusesArchitecturesThereAreNot) {
  for (const char* arch : {"", "90a", "sm_", "sm_90x", "sm_90aa", "compute_", "sm_-90", "gfx90a"}) {
    const Error error = error_of(compiler(), scale_spec(), arch);
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument) << arch;
    EXPECT_EQ(error.what(),
              format("[cuda] the architecture must be like sm_90a or compute_80, got '{}'", arch));
  }
  const Error error = error_of(compiler(), scale_spec(), "sm_30");
  EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  EXPECT_NE(std::string(error.what()).find("cannot compile for sm_30"), std::string::npos);
}

TEST(CompilerTest, KeysNameWhatTheResultDependsOn) {
  const std::string key = compiler().key(scale_spec(), "sm_90a");
  EXPECT_TRUE(key.starts_with("sm_90a ")) << key;
  EXPECT_TRUE(key.ends_with(" scale:run T=float N=128 FACTOR=2.5f")) << key;
  EXPECT_EQ(key, compiler().key(scale_spec(), "sm_90a"));
  EXPECT_NE(key, compiler().key(scale_spec(), "sm_80"));
  EXPECT_NE(key, compiler().key(scale_spec(64), "sm_90a"));

  std::vector<EmbeddedSource> sources(std::begin(kSources), std::end(kSources));
  const auto changed_key = [&] { return Compiler("", sources).key(scale_spec(), "sm_90a"); };
  EXPECT_EQ(changed_key(), key);
  sources[1].text = "";
  EXPECT_EQ(changed_key(), key);
  sources[0].text = "template <class T, int N> __device__ T scale(T x) { return x; }\n";
  EXPECT_NE(changed_key(), key);
}

TEST(CompilerTest, ThreadsCompileAtOnce) {
  const Compiler shared = compiler();
  std::vector<std::thread> threads;
  std::vector<CompiledKernel> kernels(8);
  for (size_t i = 0; i < kernels.size(); ++i)
    threads.emplace_back([&, i] {
      kernels[i] = shared.compile(scale_spec(32 * static_cast<int>(i + 1)), "sm_90a");
    });
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 0; i < kernels.size(); ++i) {
    EXPECT_TRUE(is_elf(kernels[i].image)) << i;
    const CompiledKernel again = shared.compile(scale_spec(32 * static_cast<int>(i + 1)), "sm_90a");
    EXPECT_EQ(kernels[i].image, again.image) << i;
  }
}

TEST(CompilerTest, WithoutNvrtcItSaysWhatToInstall) {
  // In a child process, where no other test has opened NVRTC: an open library is found by name.
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        try {
          Compiler("/nonexistent/a:/nonexistent/b", kSources).nvrtc_version();
          std::fputs("found one on this machine", stderr);
        } catch (const Error& error) {
          if (error.code() == ErrorCode::kEnvironment) std::fputs(error.what(), stderr);
        }
        std::exit(0);
      },
      testing::ExitedWithCode(0),
      "pip install nvidia-cuda-nvrtc.*/nonexistent/a, /nonexistent/b|found one on this machine");
}

}  // namespace
}  // namespace brayton::cuda
