// How the row-wise kernels share out their work.
#pragma once

#include <cstdint>

#include "backends/cpu/cpu_stream.h"
#include "backends/cpu/kernels/simd.h"

namespace brayton::cpu::BRAYTON_CPU_LEVEL {

// Calls rows(begin, end) for ranges that cover [0, count), on all threads where that pays. `cost`
// of a row is about its elements times the vector operations on each: waking the other threads
// takes as long as some ten thousand of these, so one token's rows stay on the calling thread.
template <class Rows>
BRAYTON_INLINE void for_rows(Stream& stream, int64_t count, int64_t cost, const Rows& rows) {
  constexpr int64_t kPieceCost = 1 << 16;
  const int64_t a_piece = cost >= kPieceCost ? 1 : kPieceCost / (cost > 0 ? cost : 1);
  if (count <= a_piece) {
    rows(int64_t{0}, count);
    return;
  }
  cpu_stream(stream).pool().run((count + a_piece - 1) / a_piece, [&](int64_t piece, int) {
    const int64_t begin = piece * a_piece;
    rows(begin, begin + a_piece < count ? begin + a_piece : count);
  });
}

// v in the first n lanes, zero in the others.
BRAYTON_INLINE F32 keep_first(F32 v, int64_t n) {
  I32 lane{};
  for (int i = 0; i < kLanes; ++i) lane[i] = i;
  return select(lane < static_cast<int32_t>(n), v, F32{});
}

}  // namespace brayton::cpu::BRAYTON_CPU_LEVEL
