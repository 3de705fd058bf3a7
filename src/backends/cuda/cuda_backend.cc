#include "backends/cuda/cuda_backend.h"

#include <algorithm>
#include <optional>

#include "backends/cuda/cuda_kernels.h"
#include "backends/cuda/cuda_stream.h"
#include "backends/cuda/device_query.h"
#include "backends/cuda/driver.h"
#include "backends/cuda/jit/disk_cache.h"
#include "backends/cuda/jit/gate.h"
#include "backends/cuda/jit/kernel_library.h"
#include "backends/cuda/kernels/read_bandwidth.h"
#include "backends/cuda/libraries/cublaslt.h"
#include "backends/cuda/memory.h"
#include "backends/cuda/packed_linear.h"
#include "backends/cuda/upload.h"
#include "core/check.h"
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

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(const CudaOptions& options)
      : device_(options),
        library_dirs_(options.library_dirs),
        cache_(options.cache_dir),
        library_(device_.driver, device_.info.arch, Compiler(options.library_dirs), &cache_) {}

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
    if (!cublaslt_ && device_.driver) cublaslt_ = CublasLt::open(library_dirs_);
    if (!cublaslt_) return false;
    cublaslt_->linear(cuda_stream(stream), args);
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
    if (library_.rebuilt() > 0)
      log_warning("[cuda] {} kernels of the engine do not fit {} and were compiled again",
               library_.rebuilt(), device_.info.name);
  }
  void add_kernel_images(const KernelImages& images) override { library_.add_images(images); }
  KernelImages kernel_images() const override { return library_.images(); }
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
                                        planning_);
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
  const std::string library_dirs_;
  std::unique_ptr<CublasLt> cublaslt_;
  DiskCache cache_;
  KernelLibrary library_;
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
