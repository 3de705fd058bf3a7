// read_bandwidth: adds up a buffer; what is measured is how fast memory can be read. Blocks stride
// over the buffer, eight 16-byte loads a thread under way.
#include "device/dependency.cuh"
#include "device/types.cuh"

extern "C" __global__ void __launch_bounds__(512)
    read_bandwidth(const uint4* data, int64_t count, uint32_t* result) {
  wait_for_dependency();
  constexpr int kLoads = 8;
  uint32_t sum = 0;
  const int64_t stride = int64_t{gridDim.x} * blockDim.x;
  int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  for (; i + (kLoads - 1) * stride < count; i += kLoads * stride) {
    uint4 words[kLoads];
#pragma unroll
    for (int n = 0; n < kLoads; ++n) {
      asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                   : "=r"(words[n].x), "=r"(words[n].y), "=r"(words[n].z), "=r"(words[n].w)
                   : "l"(data + i + n * stride));
    }
#pragma unroll
    for (int n = 0; n < kLoads; ++n) sum += words[n].x ^ words[n].y ^ words[n].z ^ words[n].w;
  }
  if (sum == 0x9e3779b9u) *result = sum;  // keeps the loads
}
