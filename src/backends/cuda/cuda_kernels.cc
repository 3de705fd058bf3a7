#include "backends/cuda/cuda_kernels.h"

#include "backends/cuda/kernels/activation.h"
#include "backends/cuda/kernels/append_kv.h"
#include "backends/cuda/kernels/attention/attention.h"
#include "backends/cuda/kernels/elementwise.h"
#include "backends/cuda/kernels/gemm/linear.h"
#include "backends/cuda/kernels/norm.h"
#include "backends/cuda/kernels/rope.h"
#include "backends/cuda/kernels/row_copies.h"
#include "backends/cuda/kernels/sampling/sample.h"
#include "backends/cuda/kernels/step_inputs.h"

namespace brayton::cuda {

const KernelTable& kernel_table() {
  static const KernelTable table = {
      .embedding = embedding,
      .linear = linear,
      .rms_norm = rms_norm,
      .layer_norm = layer_norm,
      .rope = rope,
      .attention = attention,
      .activation = activation,
      .gated_activation = gated_activation,
      .binary = binary,
      .scale = scale,
      .gather_rows = gather_rows,
      .append_kv = append_kv,
      .unpack_step = unpack_step,
      .admit_slots = admit_slots,
      .sample = sample,
  };
  return table;
}

}  // namespace brayton::cuda
