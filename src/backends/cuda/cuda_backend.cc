#include "backends/cuda/cuda_backend.h"

#include <algorithm>
#include <chrono>
#include <mutex>
#include <optional>
#include <utility>

#include "backends/cuda/cuda_kernels.h"
#include "backends/cuda/cuda_stream.h"
#include "backends/cuda/device_query.h"
#include "backends/cuda/driver.h"
#include "backends/cuda/jit/disk_cache.h"
#include "backends/cuda/jit/gate.h"
#include "backends/cuda/jit/kernel_library.h"
#include "backends/cuda/jit/source_closure.h"
#include "backends/cuda/jit/timing_cache.h"
#include "backends/cuda/kernels/gemm/linear_timer.h"
#include "backends/cuda/kernels/gemm/linear_tuner.h"
#include "backends/cuda/kernels/read_bandwidth.h"
#include "backends/cuda/libraries/cublaslt.h"
#include "backends/cuda/memory.h"
#include "backends/cuda/packed_linear.h"
#include "backends/cuda/upload.h"
#include "core/check.h"
#include "core/hash.h"
#include "core/log.h"

namespace brayton {
namespace cuda {
namespace {

// A device and what all its programs share. The context goes with it, after everything that lives
// in it.
struct Opened {
  const Driver* driver = nullptr;  // null: offline
  CUdevice handle = 0;
  CUcontext context = nullptr;
  DeviceInfo info;

  explicit Opened(const CudaOptions& options);
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;
  ~Opened() {
    if (context) driver->cuDevicePrimaryCtxRelease(handle);
  }
};

Opened::Opened(const CudaOptions& options) {
  if (options.offline) {
    info = nominal_device(options.arch.empty() ? "sm_90a" : options.arch);
    return;
  }
  driver = &Driver::open();
  int count = 0;
  driver->check(driver->cuDeviceGetCount(&count), "cuDeviceGetCount");
  if (count == 0) throw_error(ErrorCode::kEnvironment, "[cuda] there is no GPU; use --device cpu");
  if (options.device < 0 || options.device >= count)
    throw_error(ErrorCode::kInvalidArgument, "[cuda] the device must be in [0, {}), got {}", count,
                options.device);
  driver->check(driver->cuDeviceGet(&handle, options.device), "cuDeviceGet");
  info = query_device(*driver, handle);
  if (options.portable || !options.arch.empty())
    set_arch(info, options.portable ? "compute_80" : options.arch);
  driver->check(driver->cuDevicePrimaryCtxRetain(&context, handle), "cuDevicePrimaryCtxRetain",
                info.name);
  driver->check(driver->cuCtxSetCurrent(context), "cuCtxSetCurrent");
}

// What a linear kernel's time depends on.
TimingIdentity timing_identity(const Driver& driver, const DeviceInfo& device) {
  uint64_t hash = hash64(std::as_bytes(std::span(device.arch)), linear_choices_hash(device));
  for (const char* kernel : {"gemv", "skinny", "skinny_hopper", "gemm_hopper", "gemm_portable"})
    hash = hash * 31 +
           hash_sources(source_closure(embedded_sources(), format("kernels/gemm/{}.cuh", kernel)));
  return {device.name, driver.version, hash};
}

constexpr int64_t kMostTuningBytes = int64_t{3} << 29;  // for as long as it takes
constexpr int64_t kTuningReserve = int64_t{1} << 28;    // is left free meanwhile

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(const CudaOptions& options)
      : device_(options),
        library_dirs_(options.library_dirs),
        cache_(options.cache_dir),
        library_(device_.driver, device_.info.arch, Compiler(options.library_dirs), &cache_) {
    if (!device_.driver || !options.tune || options.portable) return;
    timings_.emplace(options.cache_dir, timing_identity(*device_.driver, device_.info));
    tuner_.emplace(device_.info, *timings_, [this] { return open_cublaslt(); });
  }

  std::string kind() const override { return "cuda"; }
  std::string description() const override {
    return format("cuda: {} ({})", device_.info.name, device_.info.arch);
  }
  const KernelTable& kernels() const override { return kernel_table(); }
  std::unique_ptr<Stream> make_stream() override { return new_stream(); }

  Buffer allocate(size_t bytes) override {
    make_current();
    return allocate_device(device_.driver, bytes);
  }
  Buffer allocate_pinned(size_t bytes) override {
    make_current();
    return cuda::allocate_pinned(device_.driver, bytes);
  }
  int64_t free_bytes() const override {
    if (!device_.driver) return int64_t{80} << 30;
    make_current();
    size_t free = 0, total = 0;
    device_.driver->check(device_.driver->cuMemGetInfo(&free, &total), "cuMemGetInfo");
    return static_cast<int64_t>(free);
  }
  void copy_to_device(void* device, const void* host, size_t bytes) override {
    if (bytes == 0) return;
    const TensorView view(host, DType::kU8, Shape{static_cast<int64_t>(bytes)});
    uploader().copy(view, DType::kU8, device);
    upload_stream_->synchronize();
  }
  void copy_to_host(void* host, const void* device, size_t bytes) override {
    if (bytes == 0 || !device_.driver) return;
    uploader();
    upload_stream_->copy_to_host(host, device, bytes);
    upload_stream_->synchronize();
  }
  bool shares_host_memory() const override { return false; }

  std::vector<std::string> linear_tactics(const LinearDesc& desc) const override {
    if (!is_float(desc.weight) && !is_quantized(desc.weight))
      throw_error(ErrorCode::kUnsupported, "[linear] w must be a float or block type, got {}",
                  dtype_name(desc.weight));
    return {std::string(dtype_name(desc.compute))};
  }
  std::unique_ptr<PackedWeight> pack_linear(Stream&, const TensorView& w,
                                            const std::string& tactic) override {
    if (w.rank() != 2 || !w.contiguous())
      throw_error(ErrorCode::kInvalidArgument, "[linear] w must be a contiguous [N, K], got {}",
                  w.shape.str());
    const DType dtype = dtype_of(tactic);
    Buffer data = allocate(static_cast<size_t>(storage_bytes(dtype, w.shape)));
    uploader().copy(w, dtype, data.data());
    if (upload_stream_) upload_stream_->synchronize();
    return std::make_unique<PackedLinear>(dtype, w.dim(0), w.dim(1), tactic, std::move(data));
  }
  int64_t packed_bytes(const LinearDesc& desc, const std::string& tactic) const override {
    return storage_bytes(dtype_of(tactic), {desc.n, desc.k});
  }
  bool launch_library_linear(Stream& stream, const LinearArgs& args) override {
    CublasLt* const library = open_cublaslt();
    if (!library) return false;
    library->linear(cuda_stream(stream), args);
    return true;
  }
  double measure_read_bandwidth() override {
    BRAYTON_CHECK(device_.driver != nullptr);
    uploader();
    return cuda::measure_read_bandwidth(*device_.driver, *upload_stream_);
  }
  DType activation_dtype(DType nominal) const override { return nominal; }
  DType table_dtype(DType stored, DType nominal) const override {
    return is_quantized(stored) ? nominal : stored;
  }
  Fusions fusions() const override { return {.linear_activation = true, .append_kv = true}; }

  bool begin_planning() override { return planning_ = true; }
  void end_planning(const std::function<void(int64_t, int64_t)>& progress) override {
    planning_ = false;
    make_current();
    library_.compile_pending(progress);
    if (const int64_t more = library_.rebuilt() - std::exchange(rebuilt_, library_.rebuilt()))
      log_warning("[cuda] {} kernels that the engine has not, or not for {}, were compiled", more,
                  device_.info.name);
    if (tuner_) tune();
  }
  void add_kernel_images(const KernelImages& images) override {
    library_.add_images(images);
    if (!timings_) return;
    if (const auto found = images.find(timings_->image_name()); found != images.end())
      timings_->add_image(found->second);
  }
  KernelImages kernel_images() const override {
    KernelImages images = library_.images();
    if (timings_)
      if (std::vector<std::byte> times = timings_->image(); !times.empty())
        images[timings_->image_name()] = std::move(times);
    return images;
  }
  std::vector<KernelReport> reports() const {
    std::vector<KernelReport> reports;
    for (const KernelLibrary::Report& report : library_.reports())
      reports.push_back({report.kernel, device_.info.arch, report.stats.registers,
                         report.stats.shared_bytes,
                         format("{}", fmt::join(check_gate(report.stats).faults, ", "))});
    return reports;
  }

 private:
  static DType dtype_of(const std::string& tactic) {
    const std::optional<DType> dtype = dtype_from_name(tactic);
    if (dtype != DType::kF32 && dtype != DType::kF16 && dtype != DType::kBF16)
      throw_error(ErrorCode::kInvalidArgument, "[linear] tactic must be f32, f16 or bf16, got '{}'",
                  tactic);
    return *dtype;
  }
  std::unique_ptr<CudaStream> new_stream() {
    return std::make_unique<CudaStream>(device_.driver, device_.context, device_.info, library_,
                                        planning_, tuner_ ? &*tuner_ : nullptr);
  }
  CublasLt* open_cublaslt() {
    const std::lock_guard lock(cublaslt_mutex_);
    if (device_.driver && !std::exchange(cublaslt_tried_, true)) {
      make_current();
      cublaslt_ = CublasLt::open(library_dirs_);
    }
    return cublaslt_.get();
  }
  // Chooses kernels for what was planned, and takes no memory when it is done.
  void tune() {
    const std::vector<LinearTuner::Layer> layers = tuner_->wanted();
    const std::vector<LinearTuner::Layer> unloaded = tuner_->take_unloaded();
    if (layers.empty() && unloaded.empty()) return;
    const auto begin = std::chrono::steady_clock::now();
    CudaStream stream(device_.driver, device_.context, device_.info, library_, planning_);
    std::vector<LinearTuner::Layer> all = layers;
    all.insert(all.end(), unloaded.begin(), unloaded.end());
    LinearTimer timer(*device_.driver, stream, cublaslt_.get(), all,
                      std::min(free_bytes() - kTuningReserve, kMostTuningBytes));
    for (const LinearTuner::Layer& layer : unloaded)
      timer.launch_once(layer, {LinearKernel::kCublasLt});
    for (const LinearTuner::Layer& layer : layers) tuner_->decide(layer, timer.measure(layer));
    timings_->save();
    if (!layers.empty())
      log_info("[cuda] chose the fastest kernels for {} sizes of linear layers in {:.1f} s",
               layers.size(),
               std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  Uploader& uploader() {
    if (!uploader_) {
      upload_stream_ = new_stream();
      uploader_.emplace(device_.driver, *upload_stream_);
    }
    return *uploader_;
  }
  void make_current() const {
    if (device_.driver)
      device_.driver->check(device_.driver->cuCtxSetCurrent(device_.context), "cuCtxSetCurrent");
  }

  Opened device_;
  bool planning_ = false;
  int64_t rebuilt_ = 0;  // kernels that were told of
  const std::string library_dirs_;
  std::mutex cublaslt_mutex_;
  bool cublaslt_tried_ = false;
  std::unique_ptr<CublasLt> cublaslt_;
  DiskCache cache_;
  KernelLibrary library_;
  std::optional<TimingCache> timings_;  // these two where kernels are measured
  std::optional<LinearTuner> tuner_;
  std::unique_ptr<CudaStream> upload_stream_;
  std::optional<Uploader> uploader_;
};

}  // namespace
}  // namespace cuda

std::unique_ptr<Backend> make_cuda_backend(const CudaOptions& options) {
  return std::make_unique<cuda::CudaBackend>(options);
}

std::vector<KernelReport> kernel_reports(const Backend& backend) {
  return dynamic_cast<const cuda::CudaBackend&>(backend).reports();
}

std::string cuda_unavailable() {
  std::string fault = cuda::Driver::unavailable();
  if (!fault.empty()) return fault;
  int count = 0;
  cuda::Driver::open().cuDeviceGetCount(&count);
  return count > 0 ? "" : "there is no GPU";
}

}  // namespace brayton
