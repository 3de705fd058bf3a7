#include "backends/cuda/kernels/read_bandwidth.h"

#include <algorithm>

#include "backends/cuda/memory.h"

namespace brayton::cuda {

double measure_read_bandwidth(const Driver& driver, CudaStream& stream) {
  size_t free = 0, total = 0;
  driver.check(driver.cuMemGetInfo(&free, &total), "cuMemGetInfo");
  const size_t bytes = std::min(size_t{1} << 30, free / 2) / 4096 * 4096;
  const Buffer data = allocate_device(&driver, bytes);
  // Not zeros: those are read faster.
  driver.check(driver.cuMemsetD8Async(reinterpret_cast<CUdeviceptr>(data.data()), 0x5a, bytes,
                                      stream.handle()),
               "cuMemsetD8Async");
  const Buffer result = allocate_device(&driver, sizeof(uint32_t));
  const KernelSpec spec("read_bandwidth", "read_bandwidth");
  LaunchShape shape;
  shape.grid[0] = static_cast<unsigned>(stream.device().multiprocessors * 4);
  shape.threads = 512;
  const auto start = stream.make_event();
  const auto end = stream.make_event();
  double best = 0;
  for (int pass = 0; pass < 10; ++pass) {
    start->record();
    stream.launch(spec, shape, data.data(), static_cast<int64_t>(bytes / 16), result.data());
    end->record();
    stream.synchronize();
    best = std::max(best, static_cast<double>(bytes) / end->seconds_since(*start));
  }
  return best;
}

}  // namespace brayton::cuda
