// The CUDA backend's stream: launches kernels, or only notes which ones would be launched.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "backends/backend.h"
#include "backends/cuda/device_info.h"
#include "backends/cuda/driver.h"
#include "backends/cuda/jit/kernel_spec.h"

namespace brayton::cuda {

class KernelLibrary;
class LinearTuner;

struct LaunchShape {
  std::array<unsigned, 3> grid{1, 1, 1};  // 0 is 1 along y and z
  unsigned threads = 32;
  unsigned shared_bytes = 0;  // dynamic
  unsigned cluster = 1;       // blocks along x; hopper only
};

// A tensor in memory for bulk copies, dimensions innermost first.
struct TensorMapDesc {
  const void* data = nullptr;
  DType dtype = DType::kBF16;
  int rank = 2;
  std::array<uint64_t, 5> size{};    // elements
  std::array<uint64_t, 4> stride{};  // bytes, of dimensions 1 and up; multiples of 16
  std::array<uint32_t, 5> box{};     // elements
  int swizzle = 128;                 // bytes: 0, 32, 64, 128
};

// Owned by one program, used by one thread at a time.
class CudaStream final : public Stream {
 public:
  // Without a driver it can only plan. While `planning` is true, launches are noted in the library.
  // Without a tuner linear kernels are chosen unmeasured.
  CudaStream(const Driver* driver, CUcontext context, const DeviceInfo& device,
             KernelLibrary& library, const bool& planning, LinearTuner* tuner = nullptr);
  ~CudaStream() override;
  void synchronize() override;
  void copy_to_device(void* device, const void* pinned, size_t bytes) override;
  void copy_to_host(void* pinned, const void* device, size_t bytes) override;
  std::unique_ptr<Event> make_event() override;  // null without a driver
  void begin_capture() override;
  std::unique_ptr<Replay> end_capture() override;
  CUstream handle() const { return stream_; }

  const DeviceInfo& device() const { return device_; }
  LinearTuner* tuner() const { return tuner_; }
  bool planning() const { return planning_; }

  // Launches after what was launched before (on Hopper with programmatic dependence: the kernel
  // must call wait_for_dependency()). Parameters are passed by value, in the kernel's order and
  // with the kernel's types: pointers, int32_t, int64_t, float, CUtensorMap.
  template <class... Parameters>
  void launch(const KernelSpec& spec, const LaunchShape& shape, const Parameters&... parameters) {
    void* list[] = {const_cast<void*>(static_cast<const void*>(&parameters))...};
    launch_kernel(spec, shape, list);
  }

  // Working memory of one launch: contents undefined, shared by all kernels of the stream; only
  // touched after wait_for_dependency(). Grows while planning only.
  void* workspace(size_t bytes);
  // Counters that are zero when a kernel starts and that it must leave zero.
  uint32_t* counters(size_t count);

  CUtensorMap tensor_map(const TensorMapDesc& desc) const;

 private:
  void launch_kernel(const KernelSpec& spec, const LaunchShape& shape, void** parameters);

  void make_current() const;
  void* reserve(Buffer& buffer, size_t bytes, size_t least);

  const Driver* driver_;
  CUcontext context_;
  const DeviceInfo& device_;
  KernelLibrary& library_;
  const bool& planning_;
  LinearTuner* const tuner_;
  CUstream stream_ = nullptr;
  std::optional<KernelSpec> last_;  // launched, for messages
  Buffer workspace_, counters_;
  std::vector<Buffer> outgrown_;
};

CudaStream& cuda_stream(Stream& stream);  // `stream` must be the CUDA backend's

}  // namespace brayton::cuda
