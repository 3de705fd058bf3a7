// The gate lets through what runs from registers and shared memory, and names every fault.
#include "backends/cuda/jit/gate.h"

#include <gtest/gtest.h>

#include "core/format.h"

namespace brayton::cuda {
namespace {

TEST(GateTest, LetsSoundKernelsThrough) {
  const KernelStats stats{
      168,
      4096,
      0,
      0,
      {"a.cuh(3): warning #177-D: variable is unused", "ptxas info : (C7599) something else"}};
  EXPECT_TRUE(check_gate(stats).passed());
}

TEST(GateTest, NamesEveryFault) {
  EXPECT_EQ(check_gate({.spill_bytes = 12}).faults, std::vector<std::string>{"12 bytes of spills"});
  EXPECT_EQ(check_gate({.stack_bytes = 256}).faults,
            std::vector<std::string>{"a stack frame of 256 bytes"});
  for (const char* code : {"C7508", "C7510", "C7514", "C7519"}) {
    const std::string remark = format("ptxas info    : ({}) Potential Performance Loss", code);
    EXPECT_EQ(check_gate({.warnings = {remark}}).faults, std::vector<std::string>{remark});
  }
  EXPECT_EQ(check_gate({.spill_bytes = 4, .stack_bytes = 8, .warnings = {"(C7510)"}}).faults.size(),
            3u);
}

}  // namespace
}  // namespace brayton::cuda
