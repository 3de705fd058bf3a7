// The compiler's log is read as it is printed by CUDA 12 and 13, and a packed kernel comes back
// whole or not at all.
#include "backends/cuda/jit/compiled_kernel.h"

#include <gtest/gtest.h>

#include <cstring>

namespace brayton::cuda {
namespace {

// CUDA 13's form; `one` and `two` are entries of the same source, `slow` is called by `one`.
constexpr const char* kLog = R"(
jt.cuh(3): warning #177-D: variable "unused" was declared but never referenced
  extern "C" __global__ void one(float* p) { int unused; }
                                                 ^

Remark: The warnings can be suppressed with "-diag-suppress <warning-number>"

ptxas info    : 0 bytes gmem
ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized
ptxas info    : Compiling entry function 'two' for 'sm_90a'
ptxas info    : Function properties for two
ptxas         .     16 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 12 registers, used 1 barriers, 128 bytes smem
ptxas info    : Compile time = 2.654 ms
ptxas info    : Compiling entry function 'one' for 'sm_90a'
ptxas info    : Function properties for one
ptxas         .     256 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 40 registers, used 0 barriers, 256 bytes cumulative stack size
ptxas info    : Compile time = 12.115 ms
ptxas info    : Function properties for _Z4slowPfi
ptxas         .     0 bytes stack frame, 4 bytes spill stores, 4 bytes spill loads
)";

TEST(CompileLogTest, ReadsTheEntryAndWhatItCalls) {
  const KernelStats one = parse_compile_log(kLog, "one");
  EXPECT_EQ(one.registers, 40);
  EXPECT_EQ(one.shared_bytes, 0);
  EXPECT_EQ(one.stack_bytes, 256);
  EXPECT_EQ(one.spill_bytes, 8);
  ASSERT_EQ(one.warnings.size(), 2u);
  EXPECT_TRUE(one.warnings[0].starts_with("jt.cuh(3): warning #177-D"));
  EXPECT_NE(one.warnings[1].find("C7510"), std::string::npos);

  const KernelStats two = parse_compile_log(kLog, "two");
  EXPECT_EQ(two.registers, 12);
  EXPECT_EQ(two.shared_bytes, 128);
  EXPECT_EQ(two.stack_bytes, 16);
  EXPECT_EQ(two.spill_bytes, 28);
}

TEST(CompileLogTest, ReadsCuda12) {
  const KernelStats stats = parse_compile_log(
      "ptxas info    : Compiling entry function 'k' for 'sm_80'\n"
      "ptxas info    : Function properties for k\n"
      "    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
      "ptxas info    : Used 168 registers, 8200 bytes smem, 380 bytes cmem[0]",
      "k");
  EXPECT_EQ(stats.registers, 168);
  EXPECT_EQ(stats.shared_bytes, 8200);
  EXPECT_EQ(stats.spill_bytes + stats.stack_bytes, 0);
  EXPECT_TRUE(stats.warnings.empty());
}

TEST(CompileLogTest, AnEmptyLogSaysNothing) {
  const KernelStats stats = parse_compile_log("", "k");
  EXPECT_EQ(stats.registers + stats.shared_bytes + stats.spill_bytes + stats.stack_bytes, 0);
  EXPECT_TRUE(stats.warnings.empty());
}

CompiledKernel sample() {
  CompiledKernel kernel{.entry = "run", .stats = {128, 4096, 8, 16, {"careful \xff", "(C7510)"}}};
  const char ptx[] = ".version 9.0\n.target sm_80\n";
  kernel.image.resize(sizeof(ptx));
  std::memcpy(kernel.image.data(), ptx, sizeof(ptx));
  return kernel;
}

TEST(PackedKernelTest, ComesBackWhole) {
  const auto kernel = unpack_kernel(pack_kernel(sample()));
  ASSERT_TRUE(kernel);
  EXPECT_EQ(kernel->image, sample().image);
  EXPECT_EQ(kernel->entry, "run");
  EXPECT_EQ(kernel->stats.registers, 128);
  EXPECT_EQ(kernel->stats.shared_bytes, 4096);
  EXPECT_EQ(kernel->stats.spill_bytes, 8);
  EXPECT_EQ(kernel->stats.stack_bytes, 16);
  ASSERT_EQ(kernel->stats.warnings.size(), 2u);
  EXPECT_EQ(kernel->stats.warnings[1], "(C7510)");
}

TEST(PackedKernelTest, EveryPrefixAndMutationIsRefusedOrHarmless) {
  const std::vector<std::byte> bytes = pack_kernel(sample());
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(unpack_kernel(std::span(bytes).first(size))) << size;
  for (size_t at = 0; at < bytes.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      auto changed = bytes;
      changed[at] ^= std::byte{1} << bit;
      const auto kernel = unpack_kernel(changed);
      if (kernel) {
        EXPECT_EQ(kernel->image.back(), std::byte{0}) << at;
      }
    }
  }
}

TEST(PackedKernelTest, ATruncatedCubinIsRefused) {
  CompiledKernel kernel{.entry = "run"};
  kernel.image.resize(256);
  std::memcpy(kernel.image.data(),
              "\x7f"
              "ELF",
              4);
  const uint64_t sections = 192;
  const uint16_t size = 64, count = 1;
  std::memcpy(kernel.image.data() + 40, &sections, 8);
  std::memcpy(kernel.image.data() + 58, &size, 2);
  std::memcpy(kernel.image.data() + 60, &count, 2);
  EXPECT_TRUE(unpack_kernel(pack_kernel(kernel)));
  kernel.image.resize(255);
  EXPECT_FALSE(unpack_kernel(pack_kernel(kernel)));
}

}  // namespace
}  // namespace brayton::cuda
