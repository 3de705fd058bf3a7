// A kernel that reads where nothing is: the error names it and says that the context is lost; the
// process can end with a clear status.
#include <cstdio>
#include <cstdlib>

#include "backends/cuda/cuda_stream.h"
#include "backends/cuda/kernels/gpu_test.h"

namespace brayton::cuda {
namespace {

class StreamGpuTest : public GpuTest {};

// Ends the process with 3 and the message on stderr, as a command would.
[[noreturn]] void read_where_nothing_is(Backend& backend, Stream& stream) {
  try {
    auto* nowhere = reinterpret_cast<void*>(uintptr_t{0x100});
    GatherRowsArgs args;
    args.x = {nowhere, DType::kBF16, Shape{4, 64}};
    args.rows = {nowhere, DType::kI32, Shape{4}};
    args.y = {nowhere, DType::kBF16, Shape{4, 64}};
    backend.kernels().gather_rows(stream, args);
    stream.synchronize();
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    std::_Exit(3);
  }
  std::_Exit(0);
}

TEST_F(StreamGpuTest, WhatWasRunningIsNamedWhenTheContextIsLost) {
  // In a process of its own: the context is lost for good.
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(read_where_nothing_is(backend(), stream()), ::testing::ExitedWithCode(3),
              "work up to row_copies.*context is lost: restart the process");
}

TEST_F(StreamGpuTest, AnImpossibleLaunchNamesKernelAndShape) {
  LaunchShape shape;
  shape.threads = 2048;
  const std::string message = testing::error_of([&] {
    cuda().launch(KernelSpec("read_bandwidth", "read_bandwidth"), shape, nullptr, int64_t{0},
                  nullptr);
  });
  EXPECT_NE(message.find("cuLaunchKernelEx failed for read_bandwidth"), std::string::npos)
      << message;
  EXPECT_NE(message.find("2048 threads"), std::string::npos) << message;
}

}  // namespace
}  // namespace brayton::cuda
