// Weights from a checkpoint's layout into the kernels' one.
#pragma once

#include <cstdint>

#include "backends/cpu/packed_linear.h"
#include "brayton/tensor_view.h"
#include "core/thread_pool.h"

namespace brayton::cpu {

// Bytes of w [n, k] for kernels with `lanes` rows a group.
int64_t packed_linear_bytes(LinearForm form, int64_t n, int64_t k, int lanes);

// Packs w [n, k] into `target`, which is zeroed. A plain form takes any float or block type, a
// block form its own type only. Runs at about the speed of memory.
void pack_linear(ThreadPool& pool, const TensorView& w, LinearForm form, int lanes, void* target);

}  // namespace brayton::cpu
