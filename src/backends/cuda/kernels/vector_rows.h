// How row-wise kernels read their tensors: 16 bytes at a time where rows allow it; and how the
// elements of all rows are shared out among threads (RowGroup in device/elements.cuh).
#pragma once

#include <cstdint>

#include "backends/cuda/cuda_stream.h"
#include "brayton/tensor_view.h"
#include "core/check.h"

namespace brayton::cuda {

// Every row starts at a multiple of 16 bytes. True for a tensor that is not there.
inline bool rows_aligned(const TensorView& tensor) {
  if (!tensor) return true;
  const int64_t bytes = dtype_info(tensor.dtype).block_bytes;
  return reinterpret_cast<uintptr_t>(tensor.data) % 16 == 0 &&
         (tensor.rank() < 2 || tensor.strides[0] * bytes % 16 == 0);
}

// Kernels count rows, and elements between rows, in 32 bits.
inline int32_t to_int32(int64_t value) {
  BRAYTON_CHECK(value >= INT32_MIN && value <= INT32_MAX);
  return static_cast<int32_t>(value);
}

struct RowGroups {
  int count = 1;      // neighbouring elements that a thread computes together
  int groups = 2;     // of these a thread
  int threads = 128;  // of a block
  int64_t blocks = 0;

  void define(KernelSpec& spec, int64_t width) const {
    spec.define("WIDTH", width)
        .define("COUNT", count)
        .define("THREADS", threads)
        .define("GROUPS", groups);
  }
  LaunchShape shape() const {
    return {.grid = {static_cast<unsigned>(blocks), 1, 1},
            .threads = static_cast<unsigned>(threads)};
  }
};

inline RowGroups group_rows(int64_t rows, int64_t width, bool aligned) {
  RowGroups result;
  result.count = aligned && width % 8 == 0 ? 8 : 1;
  const int64_t all = rows * (width / result.count);
  const int64_t a_block = int64_t{result.threads} * result.groups;
  result.blocks = (all + a_block - 1) / a_block;
  BRAYTON_CHECK_LE(result.blocks * a_block, INT32_MAX);
  return result;
}

}  // namespace brayton::cuda
