// A kernel's specification is its source, entry and constants: equal when all of them are, whatever
// memory their names lie in.
#include "backends/cuda/jit/kernel_spec.h"

#include <gtest/gtest.h>

#include <string>

#include "brayton/error.h"

namespace brayton::cuda {
namespace {

TEST(KernelSpecTest, PrintsWhatItIs) {
  KernelSpec spec("gemm/skinny", "skinny");
  EXPECT_EQ(spec.str(), "gemm/skinny:skinny");
  spec.type("T", DType::kBF16).define("N", 4096).define("EPILOGUE", "gelu").define("SHIFT", -1);
  EXPECT_EQ(spec.str(), "gemm/skinny:skinny T=bf16 N=4096 EPILOGUE=gelu SHIFT=-1");
  EXPECT_EQ(KernelSpec("norm", "a").type("T", DType::kF32).type("W", DType::kF16).str(),
            "norm:a T=float W=f16");
}

TEST(KernelSpecTest, ContentDecidesNotAddress) {
  const std::string source("norm"), name("D");
  const KernelSpec a = KernelSpec("norm", "run").define("D", 64);
  const KernelSpec b = KernelSpec(source, "run").define(name, 64);
  EXPECT_EQ(a, b);
  EXPECT_EQ(a.hash(), b.hash());
}

TEST(KernelSpecTest, EveryPartCounts) {
  const KernelSpec base = KernelSpec("norm", "run").define("D", 64).define("ACT", "silu");
  const KernelSpec others[] = {
      KernelSpec("norms", "run").define("D", 64).define("ACT", "silu"),
      KernelSpec("norm", "ru").define("nD", 64).define("ACT", "silu"),
      KernelSpec("norm", "run").define("D", 65).define("ACT", "silu"),
      KernelSpec("norm", "run").define("D", 64).define("ACT", "gelu"),
      KernelSpec("norm", "run").define("ACT", "silu").define("D", 64),
      KernelSpec("norm", "run").define("D", 64),
      KernelSpec("norm", "run").define("D", 64).define("ACT", "silu").define("X", 0),
  };
  for (const KernelSpec& other : others) {
    EXPECT_FALSE(base == other) << other.str();
    EXPECT_NE(base.hash(), other.hash()) << other.str();
  }
}

TEST(KernelSpecTest, RefusesWhatNoKernelHas) {
  const auto message = [](auto&& run) {
    try {
      run();
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EXPECT_EQ(message([] { KernelSpec("norm", "run").type("T", DType::kQ4_1); }),
            "[cuda] T of norm must be f32, f16 or bf16, got q4_1");
  EXPECT_EQ(message([] {
              KernelSpec spec("norm", "run");
              for (int i = 0; i < 21; ++i) spec.define("X", i);
            }),
            "[cuda] a kernel may have at most 20 constants; X is one more");
}

}  // namespace
}  // namespace brayton::cuda
