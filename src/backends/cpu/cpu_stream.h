// The CPU's stream: a kernel has finished when its launch returns.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "backends/backend.h"
#include "core/thread_pool.h"

namespace brayton::cpu {

// Owned by one program, used by its loop thread only. No function is inline: kernels of all
// instruction-set levels call them.
class CpuStream final : public Stream {
 public:
  explicit CpuStream(ThreadPool& pool);
  void synchronize() override;
  void copy_to_device(void* device, const void* pinned, size_t bytes) override;
  void copy_to_host(void* pinned, const void* device, size_t bytes) override;
  std::unique_ptr<Event> make_event() override;

  ThreadPool& pool();
  int threads() const;

  // Working memory of the kernel that asks, 64-byte aligned, undefined content; valid until the
  // next call of the same function. Grows to the largest request and stays. Outside of
  // ThreadPool::run only.
  void* shared_scratch(size_t bytes);
  void reserve_thread_scratch(size_t bytes);  // for each thread
  // The calling thread's part, as last reserved. Inside of ThreadPool::run too.
  void* thread_scratch(int thread) const;

 private:
  ThreadPool& pool_;
  Buffer shared_;
  std::vector<Buffer> per_thread_;
};

CpuStream& cpu_stream(Stream& stream);  // `stream` must be the CPU backend's

}  // namespace brayton::cpu
