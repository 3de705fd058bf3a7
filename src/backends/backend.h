// A device: its memory, its stream of work, its kernels.
#pragma once

#include <cstddef>
#include <functional>
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

// Where kernels are launched. One per program; work runs in the order of the launches.
class Stream {
 public:
  virtual ~Stream() = default;
  virtual void synchronize() = 0;
};

// What a tactic is chosen for.
struct LinearDesc {
  DType weight = DType::kF32;
  int64_t n = 0;
  int64_t k = 0;
  DType compute = DType::kF32;  // f32: activations must not be rounded below float32
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string kind() const = 0;         // "cpu", "cuda"
  virtual std::string description() const = 0;  // "cpu: avx512, 2 threads"
  virtual const KernelTable& kernels() const = 0;
  virtual std::unique_ptr<Stream> make_stream() = 0;

  virtual Buffer allocate(size_t bytes) = 0;  // 64-byte aligned at least, zeroed
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
  // Bytes a second that all threads together read from memory, measured now: the bound of decoding.
  virtual double measure_read_bandwidth() = 0;
  // The type activations have on this device when the model's is `nominal`.
  virtual DType activation_dtype(DType nominal) const = 0;
};

}  // namespace brayton
