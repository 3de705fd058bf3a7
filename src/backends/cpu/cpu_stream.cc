#include "backends/cpu/cpu_stream.h"

#include <chrono>
#include <cstring>

#include "backends/cpu/cpu_memory.h"

namespace brayton::cpu {
namespace {

class PassedEvent final : public Event {
 public:
  void record() override { time_ = std::chrono::steady_clock::now(); }
  void wait() override {}
  double seconds_since(const Event& earlier) const override {
    const auto& from = static_cast<const PassedEvent&>(earlier);
    return std::chrono::duration<double>(time_ - from.time_).count();
  }

 private:
  std::chrono::steady_clock::time_point time_;
};

}  // namespace

CpuStream::CpuStream(ThreadPool& pool)
    : pool_(pool), per_thread_(static_cast<size_t>(pool.threads())) {}

void CpuStream::synchronize() {}

void CpuStream::copy_to_device(void* device, const void* pinned, size_t bytes) {
  std::memcpy(device, pinned, bytes);
}

void CpuStream::copy_to_host(void* pinned, const void* device, size_t bytes) {
  std::memcpy(pinned, device, bytes);
}

std::unique_ptr<Event> CpuStream::make_event() { return std::make_unique<PassedEvent>(); }

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
