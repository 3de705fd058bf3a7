// The kernels of a level. Each is in the file of its name (linear in linear*.cc) and begins with
// check(args). No std templates, no inline functions of shared headers that might not be inlined.
#pragma once

#include "backends/cpu/packed_linear.h"
#include "backends/kernel_table.h"

namespace brayton::cpu::BRAYTON_CPU_LEVEL {

void linear(Stream& stream, const LinearArgs& args);
int64_t packed_bytes(LinearForm form, int64_t n, int64_t k);
void pack_linear(Stream& stream, const TensorView& w, LinearForm form, void* target);

}  // namespace brayton::cpu::BRAYTON_CPU_LEVEL
