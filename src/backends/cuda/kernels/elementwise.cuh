// binary and scale, in groups of elements: see RowGroup. Float32 within, rounded once; bound by
// memory.
//
//   ELEMENT  float, f16 or bf16: of a and y
//   WIDTH    elements of a row
//   COUNT, THREADS, GROUPS  of RowGroup
// of binary_rows:
//   SECOND   type of b
//   KIND     BinaryKind
#include "device/dependency.cuh"
#include "device/elements.cuh"

using Element = ELEMENT;
constexpr int kWidth = WIDTH;
constexpr int kCount = COUNT;
constexpr int kThreads = THREADS;
constexpr int kGroups = GROUPS;
using Group = RowGroup<kWidth, kCount, kThreads, kGroups>;

#ifdef SECOND
using Second = SECOND;
constexpr bool kMultiply = KIND;

// A b of one row has a stride of 0.
extern "C" __global__ void __launch_bounds__(kThreads)
    binary_rows(const Element* a, const Second* b, Element* y, int rows, int a_stride, int b_stride,
                int y_stride) {
  launch_dependents();
  wait_for_dependency();
  float left[kGroups][kCount], right[kGroups][kCount];
#pragma unroll
  for (int g = 0; g < kGroups; ++g) {
    const Group group(g, rows);
    load_floats(a + group.row * a_stride + group.column, left[g]);
    load_floats(b + group.row * b_stride + group.column, right[g]);
  }
#pragma unroll
  for (int g = 0; g < kGroups; ++g) {
    const Group group(g, rows);
    if (!group.exists) continue;
#pragma unroll
    for (int i = 0; i < kCount; ++i)
      left[g][i] = kMultiply ? left[g][i] * right[g][i] : left[g][i] + right[g][i];
    store_floats(y + group.row * y_stride + group.column, left[g]);
  }
}
#else
extern "C" __global__ void __launch_bounds__(kThreads)
    scale_rows(const Element* a, Element* y, int rows, int a_stride, int y_stride, float factor) {
  launch_dependents();
  wait_for_dependency();
  float values[kGroups][kCount];
#pragma unroll
  for (int g = 0; g < kGroups; ++g) {
    const Group group(g, rows);
    load_floats(a + group.row * a_stride + group.column, values[g]);
  }
#pragma unroll
  for (int g = 0; g < kGroups; ++g) {
    const Group group(g, rows);
    if (!group.exists) continue;
#pragma unroll
    for (int i = 0; i < kCount; ++i) values[g][i] *= factor;
    store_floats(y + group.row * y_stride + group.column, values[g]);
  }
}
#endif
