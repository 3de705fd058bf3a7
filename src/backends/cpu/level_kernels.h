// The kernels of one instruction-set level. kernels/level_kernels.cc fills the table of its level.
#pragma once

#include "backends/cpu/cpu_level.h"
#include "backends/kernel_table.h"

namespace brayton::cpu {

struct LevelKernels {
  KernelTable table;
  int lanes = 0;  // rows of a group in packed linear weights
};

const LevelKernels& level_kernels(Level level);  // a level that this build has

}  // namespace brayton::cpu
