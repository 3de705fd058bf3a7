// wgmma of sm_90a for bf16 and f16 with float32 sums: d[64, N] (+)= a[64, 16] * b[16, N], issued by
// a warpgroup (4 warps, the first one's index a multiple of 4).
//
// Accumulators, float d[N / 8][4]: lane l of warp w of the warpgroup holds in d[j]
//   [0], [1]: row 16 w + l / 4,     columns 8 j + 2 (l % 4) and + 1
//   [2], [3]: row 16 w + l / 4 + 8, the same columns
// which is mma.m16n8k16's layout, warp w having rows 16 w .. 16 w + 15. A in registers is that
// instruction's too: a[0] row l / 4, k 2 (l % 4) and + 1; a[1] row + 8; a[2] k + 8; a[3] both. So
// fragments j = 2 i and 2 i + 1 of one product, packed, are the A of k-step i of the next.
//
// The order of use. Nothing may read or write d between the first wgmma and the wait, or ptxas
// serialises the instructions (C7510, C7514): in particular wgmma_results() stays out of the loop
// that issues them, unless each turn waits for all of them.
//   wgmma_operand(a);                      // only for an A in registers, all of the batch's
//   wgmma_fence();                         // once before a batch: registers written, d or a
//   wgmma_ss<T, N>(d, a, b, k > 0) ...     // any number
//   wgmma_commit();
//   wgmma_wait<0>();  wgmma_results(d);    // now d may be read
#pragma once

#include "device/types.cuh"

// Descriptors of operands in shared memory, which lie as bulk tensor copies with 128-byte swizzle
// leave them: rows of 128 bytes (64 elements), 16-byte chunk c of row r at chunk c ^ (r % 8), tiles
// on 1024-byte boundaries. Bits 0-13: address / 16; 16-29: leading offset / 16; 32-45: stride
// offset / 16; 62-63: 1 for the 128-byte swizzle.
constexpr uint64_t kSwizzle128 = uint64_t(1) << 62;

// K-major: a row is 64 values of k of one m (or n). The stride offset leads to the next 8 rows; the
// leading one is not used. The next k-step (16 elements) is kWgmmaStepK further.
__device__ __forceinline__ uint64_t wgmma_desc(uint32_t address) {
  return kSwizzle128 | uint64_t(1024 >> 4) << 32 | uint64_t(1) << 16 | (address & 0x3ffff) >> 4;
}
constexpr uint64_t kWgmmaStepK = 32 >> 4;

// MN-major ("transposed", 16-bit types only): a row is 64 values of n of one k, as V [keys, head
// size] is for P V. The stride offset leads to the next 8 values of k, the leading one to the next
// 64 of n: `panel_bytes`, 128 bytes times the rows of a tile (not used when N <= 64). The next
// k-step is kWgmmaStepRows further.
__device__ __forceinline__ uint64_t wgmma_desc_transposed(uint32_t address, uint32_t panel_bytes) {
  return kSwizzle128 | uint64_t(1024 >> 4) << 32 | uint64_t(panel_bytes >> 4) << 16 |
         (address & 0x3ffff) >> 4;
}
constexpr uint64_t kWgmmaStepRows = 2048 >> 4;

__device__ __forceinline__ void wgmma_fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
// Until at most `kPending` of the committed groups are under way.
template <int kPending>
__device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}
// Keeps the compiler from reading accumulators before the wait it stands behind.
template <int kFragments>
__device__ __forceinline__ void wgmma_results(float (&d)[kFragments][4]) {
#pragma unroll
  for (int j = 0; j < kFragments; ++j)
    asm volatile("" : "+f"(d[j][0]), "+f"(d[j][1]), "+f"(d[j][2]), "+f"(d[j][3])::"memory");
}
// Says that the accumulators' values do not matter any more, as wgmma counts as reading them:
// without it they keep their registers until the next product.
template <int kFragments>
__device__ __forceinline__ void wgmma_discard(float (&d)[kFragments][4]) {
#pragma unroll
  for (int j = 0; j < kFragments; ++j)
    asm volatile("" : "=f"(d[j][0]), "=f"(d[j][1]), "=f"(d[j][2]), "=f"(d[j][3]));
}
// Keeps the compiler from computing an A in registers behind the fence it stands before (C7519).
__device__ __forceinline__ void wgmma_operand(uint32_t (&a)[4]) {
  asm volatile("" : "+r"(a[0]), "+r"(a[1]), "+r"(a[2]), "+r"(a[3])::"memory");
}

// The instruction has an operand for every accumulator register, numbered in its text: N / 2 of
// them.
#define WGMMA_D(j) "+f"(d[j][0]), "+f"(d[j][1]), "+f"(d[j][2]), "+f"(d[j][3])
#define WGMMA_REGS_4 "%0, %1, %2, %3"
#define WGMMA_REGS_8 WGMMA_REGS_4 ", %4, %5, %6, %7"
#define WGMMA_REGS_16 WGMMA_REGS_8 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define WGMMA_REGS_24 WGMMA_REGS_16 ", %16, %17, %18, %19, %20, %21, %22, %23"
#define WGMMA_REGS_32 WGMMA_REGS_24 ", %24, %25, %26, %27, %28, %29, %30, %31"
#define WGMMA_REGS_40 WGMMA_REGS_32 ", %32, %33, %34, %35, %36, %37, %38, %39"
#define WGMMA_REGS_48 WGMMA_REGS_40 ", %40, %41, %42, %43, %44, %45, %46, %47"
#define WGMMA_REGS_64                        \
  WGMMA_REGS_48                              \
  ", %48, %49, %50, %51, %52, %53, %54, %55" \
  ", %56, %57, %58, %59, %60, %61, %62, %63"
#define WGMMA_REGS_80                        \
  WGMMA_REGS_64                              \
  ", %64, %65, %66, %67, %68, %69, %70, %71" \
  ", %72, %73, %74, %75, %76, %77, %78, %79"
#define WGMMA_REGS_96                        \
  WGMMA_REGS_80                              \
  ", %80, %81, %82, %83, %84, %85, %86, %87" \
  ", %88, %89, %90, %91, %92, %93, %94, %95"
#define WGMMA_REGS_112                           \
  WGMMA_REGS_96                                  \
  ", %96, %97, %98, %99, %100, %101, %102, %103" \
  ", %104, %105, %106, %107, %108, %109, %110, %111"
#define WGMMA_REGS_128                               \
  WGMMA_REGS_112                                     \
  ", %112, %113, %114, %115, %116, %117, %118, %119" \
  ", %120, %121, %122, %123, %124, %125, %126, %127"
#define WGMMA_OPERANDS_4 WGMMA_D(0)
#define WGMMA_OPERANDS_8 WGMMA_OPERANDS_4, WGMMA_D(1)
#define WGMMA_OPERANDS_16 WGMMA_OPERANDS_8, WGMMA_D(2), WGMMA_D(3)
#define WGMMA_OPERANDS_24 WGMMA_OPERANDS_16, WGMMA_D(4), WGMMA_D(5)
#define WGMMA_OPERANDS_32 WGMMA_OPERANDS_24, WGMMA_D(6), WGMMA_D(7)
#define WGMMA_OPERANDS_40 WGMMA_OPERANDS_32, WGMMA_D(8), WGMMA_D(9)
#define WGMMA_OPERANDS_48 WGMMA_OPERANDS_40, WGMMA_D(10), WGMMA_D(11)
#define WGMMA_OPERANDS_64 WGMMA_OPERANDS_48, WGMMA_D(12), WGMMA_D(13), WGMMA_D(14), WGMMA_D(15)
#define WGMMA_OPERANDS_80 WGMMA_OPERANDS_64, WGMMA_D(16), WGMMA_D(17), WGMMA_D(18), WGMMA_D(19)
#define WGMMA_OPERANDS_96 WGMMA_OPERANDS_80, WGMMA_D(20), WGMMA_D(21), WGMMA_D(22), WGMMA_D(23)
#define WGMMA_OPERANDS_112 WGMMA_OPERANDS_96, WGMMA_D(24), WGMMA_D(25), WGMMA_D(26), WGMMA_D(27)
#define WGMMA_OPERANDS_128 WGMMA_OPERANDS_112, WGMMA_D(28), WGMMA_D(29), WGMMA_D(30), WGMMA_D(31)

#define WGMMA_SS(type, n, count, a_, b_, accumulate_, transpose_)                      \
  if constexpr (N == n)                                                                \
    asm volatile("{\n.reg .pred accumulate;\nsetp.ne.b32 accumulate, %" #accumulate_   \
                 ", 0;\n"                                                              \
                 "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32." type "." type       \
                 " {" WGMMA_REGS_##count "}, %" #a_ ", %" #b_                          \
                                         ", accumulate, 1, 1, 0, %" #transpose_ ";\n}" \
                 : WGMMA_OPERANDS_##count                                              \
                 : "l"(a), "l"(b), "r"(int(accumulate)), "n"(int(kTransposeB)));
#define WGMMA_RS(type, n, count, a0_, a1_, a2_, a3_, b_, accumulate_, transpose_)                 \
  if constexpr (N == n)                                                                           \
    asm volatile("{\n.reg .pred accumulate;\nsetp.ne.b32 accumulate, %" #accumulate_              \
                 ", 0;\n"                                                                         \
                 "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32." type "." type                  \
                 " {" WGMMA_REGS_##count "}, {%" #a0_ ", %" #a1_ ", %" #a2_ ", %" #a3_ "}, %" #b_ \
                                         ", accumulate, 1, 1, %" #transpose_ ";\n}"               \
                 : WGMMA_OPERANDS_##count                                                         \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(int(accumulate)),      \
                   "n"(int(kTransposeB)));
#define WGMMA_SS_ALL(type)                     \
  WGMMA_SS(type, 8, 4, 4, 5, 6, 7)             \
  WGMMA_SS(type, 16, 8, 8, 9, 10, 11)          \
  WGMMA_SS(type, 32, 16, 16, 17, 18, 19)       \
  WGMMA_SS(type, 48, 24, 24, 25, 26, 27)       \
  WGMMA_SS(type, 64, 32, 32, 33, 34, 35)       \
  WGMMA_SS(type, 80, 40, 40, 41, 42, 43)       \
  WGMMA_SS(type, 96, 48, 48, 49, 50, 51)       \
  WGMMA_SS(type, 128, 64, 64, 65, 66, 67)      \
  WGMMA_SS(type, 160, 80, 80, 81, 82, 83)      \
  WGMMA_SS(type, 192, 96, 96, 97, 98, 99)      \
  WGMMA_SS(type, 224, 112, 112, 113, 114, 115) \
  WGMMA_SS(type, 256, 128, 128, 129, 130, 131)
#define WGMMA_RS_ALL(type)                                    \
  WGMMA_RS(type, 8, 4, 4, 5, 6, 7, 8, 9, 10)                  \
  WGMMA_RS(type, 16, 8, 8, 9, 10, 11, 12, 13, 14)             \
  WGMMA_RS(type, 32, 16, 16, 17, 18, 19, 20, 21, 22)          \
  WGMMA_RS(type, 48, 24, 24, 25, 26, 27, 28, 29, 30)          \
  WGMMA_RS(type, 64, 32, 32, 33, 34, 35, 36, 37, 38)          \
  WGMMA_RS(type, 80, 40, 40, 41, 42, 43, 44, 45, 46)          \
  WGMMA_RS(type, 96, 48, 48, 49, 50, 51, 52, 53, 54)          \
  WGMMA_RS(type, 128, 64, 64, 65, 66, 67, 68, 69, 70)         \
  WGMMA_RS(type, 160, 80, 80, 81, 82, 83, 84, 85, 86)         \
  WGMMA_RS(type, 192, 96, 96, 97, 98, 99, 100, 101, 102)      \
  WGMMA_RS(type, 224, 112, 112, 113, 114, 115, 116, 117, 118) \
  WGMMA_RS(type, 256, 128, 128, 129, 130, 131, 132, 133, 134)

template <int N>
constexpr bool wgmma_supports() {
  return N == 8 || N == 16 || N == 32 || N == 48 || N == 64 || N == 80 || N == 96 || N == 128 ||
         N == 160 || N == 192 || N == 224 || N == 256;
}
template <class T>
constexpr bool kIsBf16 = false;
template <>
constexpr bool kIsBf16<bf16> = true;

// Both operands in shared memory, A K-major. `accumulate` false: d = a * b.
template <class T, int N, bool kTransposeB = false>
__device__ __forceinline__ void wgmma_ss(float (&d)[N / 8][4], uint64_t a, uint64_t b,
                                         bool accumulate) {
  static_assert(wgmma_supports<N>() && sizeof(T) == 2);
  if constexpr (kIsBf16<T>) {
    WGMMA_SS_ALL("bf16")
  } else {
    WGMMA_SS_ALL("f16")
  }
}

// A in registers. They must not change before the wait.
template <class T, int N, bool kTransposeB = false>
__device__ __forceinline__ void wgmma_rs(float (&d)[N / 8][4], const uint32_t (&a)[4], uint64_t b,
                                         bool accumulate) {
  static_assert(wgmma_supports<N>() && sizeof(T) == 2);
  if constexpr (kIsBf16<T>) {
    WGMMA_RS_ALL("bf16")
  } else {
    WGMMA_RS_ALL("f16")
  }
}
