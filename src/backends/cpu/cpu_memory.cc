#include "backends/cpu/cpu_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "core/checked_math.h"
#include "core/format.h"

namespace brayton::cpu {
namespace {

constexpr size_t kMapFrom = size_t{1} << 20;  // below, malloc's own pages do

}  // namespace

Buffer allocate_memory(size_t bytes, bool huge) {
  if (bytes < kMapFrom) {
    void* data = nullptr;
    if (posix_memalign(&data, 64, std::max<size_t>(bytes, 64)) != 0)
      throw_error(ErrorCode::kResourceExhausted, "[cpu] {} bytes of memory are not to be had",
                  bytes);
    std::memset(data, 0, bytes);
    return Buffer(data, bytes, [](void* p) { std::free(p); });
  }
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED)
    throw_error(ErrorCode::kResourceExhausted, "[cpu] mmap of {} bytes: {}", bytes,
                std::strerror(errno));
  if (huge) madvise(data, bytes, MADV_HUGEPAGE);  // a wish; without it, it only runs slower
  return Buffer(data, bytes, [bytes](void* p) { munmap(p, bytes); });
}

int64_t available_memory() {
  return static_cast<int64_t>(sysconf(_SC_AVPHYS_PAGES)) * sysconf(_SC_PAGESIZE);
}

}  // namespace brayton::cpu
