// activation and gated_activation, in groups of elements: see RowGroup. Float32 within; bound by
// memory.
//
//   ELEMENT  float, f16 or bf16
//   WIDTH    elements of a row of y
//   COUNT, THREADS, GROUPS  of RowGroup
//   KIND     ActivationKind
//   GATED    x has rows of 2 WIDTH: gate, then up
#include "device/activation.cuh"
#include "device/dependency.cuh"
#include "device/elements.cuh"

using Element = ELEMENT;
constexpr int kWidth = WIDTH;
constexpr int kCount = COUNT;
constexpr int kThreads = THREADS;
constexpr int kGroups = GROUPS;
constexpr int kKind = KIND;
constexpr bool kGated = GATED;
using Group = RowGroup<kWidth, kCount, kThreads, kGroups>;

extern "C" __global__ void __launch_bounds__(kThreads)
    activate_rows(const Element* x, Element* y, int rows, int x_stride, int y_stride) {
  launch_dependents();
  wait_for_dependency();
  float values[kGroups][kCount], up[kGroups][kCount];
#pragma unroll
  for (int g = 0; g < kGroups; ++g) {
    const Group group(g, rows);
    const Element* from = x + group.row * x_stride + group.column;
    load_floats(from, values[g]);
    if constexpr (kGated) load_floats(from + kWidth, up[g]);
  }
#pragma unroll
  for (int g = 0; g < kGroups; ++g) {
    const Group group(g, rows);
    if (!group.exists) continue;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      values[g][i] = activate<kKind>(values[g][i]);
      if constexpr (kGated) values[g][i] *= up[g][i];
    }
    store_floats(y + group.row * y_stride + group.column, values[g]);
  }
}
