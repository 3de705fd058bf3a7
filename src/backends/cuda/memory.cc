#include "backends/cuda/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "core/format.h"

namespace brayton::cuda {
namespace {

Buffer reserve_addresses(size_t bytes) {
  void* data = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED)
    throw_error(ErrorCode::kResourceExhausted, "[cuda] {} bytes of addresses are not to be had",
                bytes);
  return Buffer(data, bytes, [bytes](void* p) { munmap(p, bytes); });
}

}  // namespace

Buffer allocate_device(const Driver* driver, size_t bytes) {
  bytes = std::max<size_t>(bytes, 256);
  if (!driver) return reserve_addresses(bytes);
  CUdeviceptr data = 0;
  driver->check(driver->cuMemAlloc(&data, bytes), "cuMemAlloc", format("{} bytes", bytes));
  Buffer buffer(reinterpret_cast<void*>(data), bytes,
                [driver](void* p) { driver->cuMemFree(reinterpret_cast<CUdeviceptr>(p)); });
  driver->check(driver->cuMemsetD8Async(data, 0, bytes, nullptr), "cuMemsetD8Async",
                format("{} bytes", bytes));
  driver->check(driver->cuStreamSynchronize(nullptr), "cuStreamSynchronize");
  return buffer;
}

Buffer allocate_pinned(const Driver* driver, size_t bytes) {
  bytes = std::max<size_t>(bytes, 64);
  void* data = nullptr;
  if (!driver) {
    data = std::calloc(bytes, 1);
    if (!data) throw_error(ErrorCode::kResourceExhausted, "[cuda] no {} bytes of memory", bytes);
    return Buffer(data, bytes, [](void* p) { std::free(p); });
  }
  driver->check(driver->cuMemAllocHost(&data, bytes), "cuMemAllocHost", format("{} bytes", bytes));
  std::memset(data, 0, bytes);
  return Buffer(data, bytes, [driver](void* p) { driver->cuMemFreeHost(p); });
}

}  // namespace brayton::cuda
