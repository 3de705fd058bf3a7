// The CUDA backend's kernels, one row per op.
#pragma once

#include "backends/kernel_table.h"

namespace brayton::cuda {

const KernelTable& kernel_table();

}  // namespace brayton::cuda
