// A build without CUDA says so, and how to get one that has it.
#include <gtest/gtest.h>

#include "backends/cuda/cuda_backend.h"
#include "brayton/error.h"

namespace brayton {
namespace {

TEST(NoCudaTest, SaysWhatIsMissing) {
  try {
    make_cuda_backend();
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_EQ(error.what(), "[cuda] " + cuda_unavailable());
  }
  EXPECT_TRUE(cuda_unavailable().starts_with("this build has no CUDA backend"));
}

}  // namespace
}  // namespace brayton
