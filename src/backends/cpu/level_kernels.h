// The kernels of one instruction-set level. kernels/level_kernels.cc fills the table of its level.
#pragma once

#include <cstddef>

#include "backends/cpu/cpu_level.h"
#include "backends/cpu/packed_linear.h"
#include "backends/kernel_table.h"

namespace brayton::cpu {

struct LevelKernels {
  KernelTable table;
  // Bytes of w [n, k] in `form`.
  int64_t (*packed_bytes)(LinearForm form, int64_t n, int64_t k) = nullptr;
  // Packs w [n, k] into `target`, 64-byte aligned; uses the stream's threads.
  void (*pack_linear)(Stream& stream, const TensorView& w, LinearForm form,
                      void* target) = nullptr;
};

const LevelKernels& level_kernels(Level level);  // a level that this build has

}  // namespace brayton::cpu
