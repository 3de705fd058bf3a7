#include "backends/cuda/cuda_stream.h"

#include <algorithm>

#include "backends/cuda/jit/kernel_library.h"
#include "backends/cuda/memory.h"
#include "core/check.h"

namespace brayton::cuda {
namespace {

class CudaEvent final : public Event {
 public:
  CudaEvent(const Driver& driver, CUstream stream) : driver_(driver), stream_(stream) {
    driver_.check(driver_.cuEventCreate(&event_, CU_EVENT_DEFAULT), "cuEventCreate");
  }
  ~CudaEvent() override { driver_.cuEventDestroy(event_); }
  void record() override { driver_.check(driver_.cuEventRecord(event_, stream_), "cuEventRecord"); }
  void wait() override { driver_.check(driver_.cuEventSynchronize(event_), "cuEventSynchronize"); }
  double seconds_since(const Event& earlier) const override {
    float milliseconds = 0;
    const CUevent from = static_cast<const CudaEvent&>(earlier).event_;
    driver_.check(driver_.cuEventElapsedTime(&milliseconds, from, event_), "cuEventElapsedTime");
    return milliseconds * 1e-3;
  }

 private:
  const Driver& driver_;
  CUstream stream_;
  CUevent event_ = nullptr;
};

class GraphReplay final : public Replay {
 public:
  GraphReplay(const Driver& driver, CUstream stream, CUgraph graph)
      : driver_(driver), stream_(stream) {
    const CUresult result = driver_.cuGraphInstantiate(&graph_, graph, 0);
    driver_.cuGraphDestroy(graph);
    driver_.check(result, "cuGraphInstantiate");
  }
  ~GraphReplay() override { driver_.cuGraphExecDestroy(graph_); }
  void launch() override { driver_.check(driver_.cuGraphLaunch(graph_, stream_), "cuGraphLaunch"); }

 private:
  const Driver& driver_;
  CUstream stream_;
  CUgraphExec graph_ = nullptr;
};

CUtensorMapDataType map_type(DType dtype) {
  switch (dtype) {
    case DType::kBF16:
      return CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
    case DType::kF16:
      return CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
    case DType::kF32:
      return CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
    default:
      throw_error(ErrorCode::kInternal, "[cuda] no tensor map holds {}", dtype_name(dtype));
  }
}

CUtensorMapSwizzle map_swizzle(int bytes) {
  switch (bytes) {
    case 32:
      return CU_TENSOR_MAP_SWIZZLE_32B;
    case 64:
      return CU_TENSOR_MAP_SWIZZLE_64B;
    case 128:
      return CU_TENSOR_MAP_SWIZZLE_128B;
    default:
      return CU_TENSOR_MAP_SWIZZLE_NONE;
  }
}

std::string describe(const KernelSpec& spec, const LaunchShape& shape) {
  return format("{} grid [{}, {}, {}] x {} threads, {} bytes shared, cluster {}", spec.str(),
                shape.grid[0], shape.grid[1], shape.grid[2], shape.threads, shape.shared_bytes,
                shape.cluster);
}

}  // namespace

CudaStream::CudaStream(const Driver* driver, CUcontext context, const DeviceInfo& device,
                       KernelLibrary& library, const bool& planning, LinearTuner* tuner)
    : driver_(driver),
      context_(context),
      device_(device),
      library_(library),
      planning_(planning),
      tuner_(tuner) {
  if (!driver_) return;
  make_current();
  driver_->check(driver_->cuStreamCreate(&stream_, CU_STREAM_NON_BLOCKING), "cuStreamCreate");
}

CudaStream::~CudaStream() {
  if (stream_) driver_->cuStreamDestroy(stream_);
}

void CudaStream::make_current() const {
  static thread_local CUcontext current = nullptr;
  if (current == context_) return;
  driver_->check(driver_->cuCtxSetCurrent(context_), "cuCtxSetCurrent");
  current = context_;
}

void CudaStream::synchronize() {
  if (!stream_) return;
  make_current();
  driver_->check(driver_->cuStreamSynchronize(stream_), "cuStreamSynchronize",
                 format("work up to {}", last_ ? last_->str() : "a copy"));
}

void CudaStream::copy_to_device(void* device, const void* pinned, size_t bytes) {
  if (!stream_ || planning_) return;
  make_current();
  driver_->check(
      driver_->cuMemcpyHtoDAsync(reinterpret_cast<CUdeviceptr>(device), pinned, bytes, stream_),
      "cuMemcpyHtoDAsync", format("{} bytes", bytes));
}

void CudaStream::copy_to_host(void* pinned, const void* device, size_t bytes) {
  if (!stream_ || planning_) return;
  make_current();
  driver_->check(
      driver_->cuMemcpyDtoHAsync(pinned, reinterpret_cast<CUdeviceptr>(device), bytes, stream_),
      "cuMemcpyDtoHAsync", format("{} bytes", bytes));
}

std::unique_ptr<Event> CudaStream::make_event() {
  if (!stream_) return nullptr;
  return std::make_unique<CudaEvent>(*driver_, stream_);
}

void CudaStream::begin_capture() {
  if (!stream_ || planning_) return;
  make_current();
  driver_->check(driver_->cuStreamBeginCapture(stream_, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
                 "cuStreamBeginCapture");
}

std::unique_ptr<Replay> CudaStream::end_capture() {
  if (!stream_ || planning_) return nullptr;
  CUgraph graph = nullptr;
  driver_->check(driver_->cuStreamEndCapture(stream_, &graph), "cuStreamEndCapture",
                 last_ ? last_->str() : "");
  return std::make_unique<GraphReplay>(*driver_, stream_, graph);
}

void CudaStream::launch_kernel(const KernelSpec& spec, const LaunchShape& shape,
                               void** parameters) {
  if (planning_) return library_.note(spec);
  BRAYTON_CHECK(stream_ != nullptr);
  make_current();
  last_ = spec;
  CUlaunchAttribute attributes[2];
  CUlaunchConfig config{};
  config.gridDimX = shape.grid[0];
  config.gridDimY = std::max(1u, shape.grid[1]);
  config.gridDimZ = std::max(1u, shape.grid[2]);
  config.blockDimX = shape.threads;
  config.blockDimY = config.blockDimZ = 1;
  config.sharedMemBytes = shape.shared_bytes;
  config.hStream = stream_;
  config.attrs = attributes;
  if (device_.capability >= 90 && device_.programmatic_launch) {
    CUlaunchAttribute& attribute = attributes[config.numAttrs++];
    attribute.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
    attribute.value.programmaticStreamSerializationAllowed = 1;
  }
  if (shape.cluster > 1) {
    CUlaunchAttribute& attribute = attributes[config.numAttrs++];
    attribute.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
    attribute.value.clusterDim = {shape.cluster, 1, 1};
  }
  const CUresult result = driver_->cuLaunchKernelEx(
      &config, library_.function(spec, shape.shared_bytes), parameters, nullptr);
  if (result != CUDA_SUCCESS) driver_->check(result, "cuLaunchKernelEx", describe(spec, shape));
}

void* CudaStream::reserve(Buffer& buffer, size_t bytes, size_t least) {
  if (buffer.size() < bytes) {
    // What was captured goes on using the old memory.
    if (buffer.data()) outgrown_.push_back(std::move(buffer));
    buffer = allocate_device(driver_, std::max(bytes, least));
  }
  return buffer.data();
}

void* CudaStream::workspace(size_t bytes) { return reserve(workspace_, bytes, size_t{16} << 20); }

uint32_t* CudaStream::counters(size_t count) {
  return static_cast<uint32_t*>(reserve(counters_, count * sizeof(uint32_t), size_t{1} << 18));
}

CUtensorMap CudaStream::tensor_map(const TensorMapDesc& desc) const {
  CUtensorMap map{};
  if (!driver_ || planning_) return map;
  const std::array<uint32_t, 5> steps{1, 1, 1, 1, 1};
  driver_->check(
      driver_->cuTensorMapEncodeTiled(
          &map, map_type(desc.dtype), static_cast<cuuint32_t>(desc.rank),
          const_cast<void*>(desc.data), desc.size.data(), desc.stride.data(), desc.box.data(),
          steps.data(), CU_TENSOR_MAP_INTERLEAVE_NONE, map_swizzle(desc.swizzle),
          CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
      "cuTensorMapEncodeTiled",
      format("{} {} with boxes {}, {} bytes a row", dtype_name(desc.dtype),
             fmt::join(desc.size.begin(), desc.size.begin() + desc.rank, " x "),
             fmt::join(desc.box.begin(), desc.box.begin() + desc.rank, " x "), desc.stride[0]));
  return map;
}

CudaStream& cuda_stream(Stream& stream) { return static_cast<CudaStream&>(stream); }

}  // namespace brayton::cuda
