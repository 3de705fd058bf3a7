// A device: its memory, its stream of work, its kernels.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backends/kernel_table.h"
#include "backends/packed_weight.h"
#include "brayton/tensor_view.h"

namespace brayton {

// Device memory, freed with its owner.
class Buffer {
 public:
  Buffer() = default;
  Buffer(void* data, size_t size, std::function<void(void*)> free)
      : data_(data, std::move(free)), size_(size) {}
  void* data() const { return data_.get(); }
  size_t size() const { return size_; }

 private:
  std::unique_ptr<void, std::function<void(void*)>> data_{nullptr, [](void*) {}};
  size_t size_ = 0;
};

// Launches that were captured once and can be replayed as one.
class Replay {
 public:
  virtual ~Replay() = default;
  virtual void launch() = 0;  // on the stream they were captured on
};

// A point in a stream's work.
class Event {
 public:
  virtual ~Event() = default;
  virtual void record() = 0;  // after what was launched before
  virtual void wait() = 0;    // the host, until the device has passed the last record()
  virtual double seconds_since(const Event& earlier) const = 0;  // both have passed
};

// Where kernels are launched. One per program; work runs in the order of the launches, and a
// backend whose device is the host has done it when the launch returns.
class Stream {
 public:
  virtual ~Stream() = default;
  virtual void synchronize() = 0;
  // In order with the launches. Pinned host memory must stay as it is until the device has passed.
  virtual void copy_to_device(void* device, const void* pinned, size_t bytes) = 0;
  virtual void copy_to_host(void* pinned, const void* device, size_t bytes) = 0;
  virtual std::unique_ptr<Event> make_event() = 0;
  // Between the two, launches are captured instead of carried out; nullptr: the backend cannot.
  virtual void begin_capture() {}
  virtual std::unique_ptr<Replay> end_capture() { return nullptr; }
};

// What a tactic is chosen for.
struct LinearDesc {
  DType weight = DType::kF32;
  int64_t n = 0;
  int64_t k = 0;
  DType compute = DType::kF32;  // f32: activations must not be rounded below float32
};

// Which instructions of a plan the backend computes as one.
struct Fusions {
  bool linear_activation = false;  // linear, then (gated) activation
  bool append_kv = false;  // rope of q and k, then the cache's new entries; not in attention
};

// Compiled kernels by key: what an engine file keeps, so that they need not be compiled again.
using KernelImages = std::map<std::string, std::vector<std::byte>>;

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string kind() const = 0;         // "cpu", "cuda"
  virtual std::string description() const = 0;  // "cpu: avx512, 2 threads"
  virtual const KernelTable& kernels() const = 0;
  virtual std::unique_ptr<Stream> make_stream() = 0;

  virtual Buffer allocate(size_t bytes) = 0;         // 64-byte aligned at least, zeroed
  virtual Buffer allocate_pinned(size_t bytes) = 0;  // host memory for a stream's copies, zeroed
  virtual int64_t free_bytes() const = 0;            // of the device's memory
  virtual void copy_to_device(void* device, const void* host, size_t bytes) = 0;
  virtual void copy_to_host(void* host, const void* device, size_t bytes) = 0;
  // True where the device reads host memory, so that raw weights need no copy.
  virtual bool shares_host_memory() const = 0;

  // Tactics that can compute this layer, the preferred one first; never empty.
  virtual std::vector<std::string> linear_tactics(const LinearDesc& desc) const = 0;
  // Packs w [n, k] (host memory, row-major). May use the stream's threads.
  virtual std::unique_ptr<PackedWeight> pack_linear(Stream& stream, const TensorView& w,
                                                    const std::string& tactic) = 0;
  // Bytes that pack_linear will take, for the memory plan.
  virtual int64_t packed_bytes(const LinearDesc& desc, const std::string& tactic) const = 0;
  // Launches the vendor library's kernel for a plain 16-bit layer, a yardstick of our own; false
  // where there is none.
  virtual bool launch_library_linear(Stream& stream, const LinearArgs& args) {
    (void)stream, (void)args;
    return false;
  }
  // Bytes a second that all threads together read from memory, measured now: the bound of decoding.
  virtual double measure_read_bandwidth() = 0;
  // The type activations have on this device when the model's is `nominal`.
  virtual DType activation_dtype(DType nominal) const = 0;
  // The type an embedding table has on this device when the checkpoint's is `stored`.
  virtual DType table_dtype(DType stored, DType nominal) const = 0;
  virtual Fusions fusions() const { return {}; }

  // Kernels that are compiled for the model. From begin_planning() on, launches are only noted;
  // end_planning() makes what they need ready. `progress`: kernels done and in all; may be empty.
  // False: there is nothing to plan.
  virtual bool begin_planning() { return false; }
  virtual void end_planning(const std::function<void(int64_t, int64_t)>& progress) {
    (void)progress;
  }
  virtual void add_kernel_images(const KernelImages& images) { (void)images; }
  virtual KernelImages kernel_images() const { return {}; }
};

}  // namespace brayton
