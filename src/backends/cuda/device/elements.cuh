// N consecutive elements as floats: single ones at any address, or vectors of 16 bytes; and how the
// elements of all rows are shared out among threads.
#pragma once

#include "device/types.cuh"

// N is 1, or a multiple of a vector's elements with `from` 16-byte aligned.
template <class Element, int N>
__device__ __forceinline__ void load_floats(const Element* from, float (&out)[N]) {
  constexpr int kPart = Vector16<Element>::kElements;
  if constexpr (N == 1) {
    out[0] = to_float(*from);
  } else {
    static_assert(N % kPart == 0);
    Vector16<Element> parts[N / kPart];
#pragma unroll
    for (int i = 0; i < N / kPart; ++i) parts[i].load(from + i * kPart);
#pragma unroll
    for (int i = 0; i < N / kPart; ++i) {
      float values[kPart];
      parts[i].to_floats(values);
#pragma unroll
      for (int k = 0; k < kPart; ++k) out[i * kPart + k] = values[k];
    }
  }
}

template <class Element, int N>
__device__ __forceinline__ void store_floats(Element* to, const float (&in)[N]) {
  constexpr int kPart = Vector16<Element>::kElements;
  if constexpr (N == 1) {
    *to = from_float<Element>(in[0]);
  } else {
    static_assert(N % kPart == 0);
#pragma unroll
    for (int i = 0; i < N / kPart; ++i) {
      float values[kPart];
#pragma unroll
      for (int k = 0; k < kPart; ++k) values[k] = in[i * kPart + k];
      Vector16<Element> part;
      part.from_floats(values);
      part.store(to + i * kPart);
    }
  }
}

// Elementwise kernels: a thread computes kGroups groups of kCount neighbouring elements (8, or 1
// where rows don't lie at multiples of 16 bytes), those of a block's threads next to each other.
// Loads need no test, so that all of a thread's are in flight together: a thread too many gets the
// last group, which it must not store.
template <int kWidth, int kCount, int kThreads, int kGroups>
struct RowGroup {
  int64_t row;
  int column;
  bool exists;

  __device__ __forceinline__ RowGroup(int g, int rows) {  // rows > 0
    constexpr unsigned kInRow = kWidth / kCount;
    const unsigned total = unsigned(rows) * kInRow;
    unsigned group = (blockIdx.x * kGroups + g) * kThreads + threadIdx.x;
    exists = group < total;
    group = min(group, total - 1);
    row = group / kInRow;
    column = group % kInRow * kCount;
  }
};
