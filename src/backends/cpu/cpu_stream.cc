#include "backends/cpu/cpu_stream.h"

#include "backends/cpu/cpu_memory.h"

namespace brayton::cpu {

CpuStream::CpuStream(ThreadPool& pool)
    : pool_(pool), per_thread_(static_cast<size_t>(pool.threads())) {}

void CpuStream::synchronize() {}

ThreadPool& CpuStream::pool() { return pool_; }

int CpuStream::threads() const { return pool_.threads(); }

void* CpuStream::shared_scratch(size_t bytes) {
  if (shared_.size() < bytes) shared_ = allocate_memory(bytes);
  return shared_.data();
}

void CpuStream::reserve_thread_scratch(size_t bytes) {
  for (Buffer& buffer : per_thread_)
    if (buffer.size() < bytes) buffer = allocate_memory(bytes);
}

void* CpuStream::thread_scratch(int thread) const {
  return per_thread_[static_cast<size_t>(thread)].data();
}

CpuStream& cpu_stream(Stream& stream) { return static_cast<CpuStream&>(stream); }

}  // namespace brayton::cpu
