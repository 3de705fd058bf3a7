// embedding and gather_rows: y[r, :] = from[indices[r], :], converted where the types differ, in
// groups of elements: see RowGroup. Bound by memory. A row that is not there is not read: it
// becomes NaN, where whoever uses it will notice.
//
//   SOURCE   float, f16 or bf16
//   ELEMENT  of y, likewise
//   WIDTH    elements of a row
//   COUNT, THREADS, GROUPS  of RowGroup
#include "device/dependency.cuh"
#include "device/elements.cuh"

using Source = SOURCE;
using Element = ELEMENT;
constexpr int kWidth = WIDTH;
constexpr int kCount = COUNT;
constexpr int kThreads = THREADS;
constexpr int kGroups = GROUPS;
using Group = RowGroup<kWidth, kCount, kThreads, kGroups>;

extern "C" __global__ void __launch_bounds__(kThreads)
    copy_rows(const Source* from, const int* indices, Element* y, int rows, int source_rows,
              int from_stride, int y_stride) {
  launch_dependents();
  wait_for_dependency();
  float values[kGroups][kCount];
#pragma unroll
  for (int g = 0; g < kGroups; ++g) {
    const Group group(g, rows);
    const int index = indices[group.row];
    const bool valid = unsigned(index) < unsigned(source_rows);
    load_floats(from + int64_t(valid ? index : 0) * from_stride + group.column, values[g]);
#pragma unroll
    for (int i = 0; i < kCount; ++i)
      if (!valid) values[g][i] = __uint_as_float(0x7fffffffu);
  }
#pragma unroll
  for (int g = 0; g < kGroups; ++g) {
    const Group group(g, rows);
    if (group.exists) store_floats(y + group.row * y_stride + group.column, values[g]);
  }
}
