// The backend says what it is, which tactics are legal, and refuses what it cannot do.
#include "backends/cpu/cpu_backend.h"

#include <gtest/gtest.h>

#include "brayton/error.h"
#include "testing/op_test.h"

namespace brayton {
namespace {

using testing::error_of;

TEST(CpuBackend, DescribesItself) {
  const auto backend = make_cpu_backend({.threads = 2, .level = "baseline"});
  EXPECT_EQ(backend->kind(), "cpu");
  EXPECT_EQ(backend->description(), "cpu: baseline, 2 threads");
  EXPECT_EQ(make_cpu_backend({.threads = 1, .level = "baseline"})->description(),
            "cpu: baseline, 1 thread");
  EXPECT_TRUE(backend->shares_host_memory());
  EXPECT_EQ(backend->activation_dtype(DType::kBF16), DType::kF32);
}

TEST(CpuBackend, WrongOptionsAreRefused) {
  EXPECT_EQ(error_of([] { make_cpu_backend({.threads = -1, .level = ""}); }),
            "[cpu] threads must be in [0, 1024], got -1");
  EXPECT_EQ(error_of([] { make_cpu_backend({.threads = 1, .level = "fast"}); }),
            "[cpu] level must be baseline, sse42, avx2 or avx512, got \"fast\"");
}

TEST(CpuBackend, MemoryIsAlignedAndZero) {
  const auto backend = make_cpu_backend({.threads = 1, .level = ""});
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{1000}, size_t{3} << 20}) {
    const Buffer buffer = backend->allocate(bytes);
    ASSERT_NE(buffer.data(), nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % 64, 0u);
    EXPECT_EQ(buffer.size(), bytes);
    for (size_t i = 0; i < bytes; ++i)
      ASSERT_EQ(static_cast<const char*>(buffer.data())[i], 0) << i;
  }
}

TEST(CpuBackend, TacticsFollowTheTypes) {
  const auto backend = make_cpu_backend({.threads = 1, .level = ""});
  using Names = std::vector<std::string>;
  EXPECT_EQ(backend->linear_tactics({DType::kQ4_1, 8, 32, DType::kF16}), (Names{"q4_1.q8", "f32"}));
  EXPECT_EQ(backend->linear_tactics({DType::kQ4_1, 8, 32, DType::kF32}), (Names{"f32"}));
  EXPECT_EQ(backend->linear_tactics({DType::kBF16, 8, 32, DType::kBF16}), (Names{"f32"}));
  EXPECT_EQ(error_of([&] { backend->linear_tactics({DType::kI32, 8, 32, DType::kF32}); }),
            "[linear] w must be a float or block type, got i32");
  EXPECT_EQ(error_of([&] { backend->packed_bytes({DType::kQ4_1, 8, 32, DType::kF32}, "q8_0.q8"); }),
            "[linear] tactic must be f32 or q4_1.q8, got \"q8_0.q8\"");
  EXPECT_EQ(error_of([&] { backend->packed_bytes({DType::kF16, 8, 32, DType::kF32}, "best"); }),
            "[linear] tactic must be f32, got \"best\"");
}

// Packed weights read no more memory than the stored ones, but for padding and K scales.
TEST(CpuBackend, PackedFormsAreCompact) {
  const auto backend = make_cpu_backend({.threads = 1, .level = ""});
  for (const DType dtype : {DType::kQ4_0, DType::kQ4_1, DType::kQ8_0, DType::kQ4_K, DType::kQ6_K}) {
    const int64_t stored = storage_bytes(dtype, {1024, 1024});
    const LinearDesc desc = {dtype, 1024, 1024, DType::kF16};
    const int64_t packed = backend->packed_bytes(desc, backend->linear_tactics(desc).front());
    EXPECT_LE(packed, stored * 104 / 100) << dtype_name(dtype);
  }
}

}  // namespace
}  // namespace brayton
