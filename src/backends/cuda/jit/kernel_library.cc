#include "backends/cuda/jit/kernel_library.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <optional>
#include <thread>
#include <utility>

#include "backends/cuda/jit/disk_cache.h"
#include "core/check.h"
#include "core/log.h"
#include "core/thread_pool.h"

namespace brayton::cuda {
namespace {

// What a kernel may use, static and dynamic together, without asking for it.
constexpr int kSharedBytes = 48 * 1024;
constexpr bool kMostSharedMemory = true;  // of a multiprocessor, rather than L1

class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
  }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

}  // namespace

struct KernelLibrary::Entry {
  KernelSpec spec;
  std::string key;
  std::optional<CompiledKernel> kernel;
  Source source = Source::kEngine;
  Source next = Source::kEngine;  // where the image is looked for first
  double seconds = 0;
  bool rebuilt = false;
  CUmodule module = nullptr;
  CUfunction function = nullptr;  // null: not loaded
  int shared_limit = 0;           // bytes of dynamic shared memory that a launch may ask for
};

KernelLibrary::KernelLibrary(const Driver* driver, std::string arch, Compiler compiler,
                             DiskCache* cache)
    : driver_(driver), arch_(std::move(arch)), compiler_(std::move(compiler)), cache_(cache) {}

KernelLibrary::~KernelLibrary() {
  for (Entry* entry : order_)
    if (entry->module) driver_->cuModuleUnload(entry->module);
}

void KernelLibrary::add_images(const KernelImages& images) {
  const std::lock_guard lock(build_mutex_);
  expects_images_ |= !images.empty();
  const std::string prefix = arch_ + " ";
  for (auto it = images.lower_bound(prefix); it != images.end() && it->first.starts_with(prefix);
       ++it)
    given_.insert(*it);
}

KernelLibrary::Entry& KernelLibrary::entry_of(const KernelSpec& spec) {
  const std::lock_guard lock(mutex_);
  const auto [found, added] = entries_.try_emplace(spec);
  if (added) {
    found->second.reset(new Entry{.spec = spec});
    order_.push_back(found->second.get());
  }
  return *found->second;
}

void KernelLibrary::note(const KernelSpec& spec) { entry_of(spec); }

void KernelLibrary::compile_pending(const Progress& progress) {
  const std::lock_guard build_lock(build_mutex_);
  std::vector<Entry*> pending;
  {
    const std::lock_guard lock(mutex_);
    for (Entry* entry : order_)
      if (!entry->function && (driver_ || !entry->kernel)) pending.push_back(entry);
  }
  build(std::move(pending), progress);
}

void KernelLibrary::build(std::vector<Entry*> entries, const Progress& progress) {
  int64_t done = 0;
  auto total = static_cast<int64_t>(entries.size());
  const auto advance = [&] {
    ++done;
    if (progress) progress(done, total);
  };
  while (!entries.empty()) {
    std::vector<Entry*> missing;
    for (Entry* entry : entries) {
      if (entry->kernel || find_image(*entry))
        advance();
      else
        missing.push_back(entry);
    }
    compile_all(missing, advance);
    if (expects_images_)
      for (Entry* entry : missing) count_rebuilt(*entry);
    if (!driver_) return;
    // What the driver refuses goes round again.
    std::erase_if(entries, [this](Entry* entry) { return load(*entry); });
    total += static_cast<int64_t>(entries.size());
  }
}

void KernelLibrary::count_rebuilt(Entry& entry) {
  if (!std::exchange(entry.rebuilt, true)) ++rebuilt_;
}

// NVRTC's version is left out of engine files, which may be opened where it is another or missing.
std::string KernelLibrary::cache_key(const Entry& entry) const {
  return format("{} nvrtc {}", entry.key, compiler_.nvrtc_version());
}

bool KernelLibrary::find_image(Entry& entry) const {
  const Stopwatch watch;
  if (entry.key.empty()) entry.key = compiler_.key(entry.spec, arch_);
  if (entry.next == Source::kEngine) {
    entry.next = Source::kCache;
    if (const auto given = given_.find(entry.key); given != given_.end())
      entry.kernel = unpack_kernel(given->second);
    entry.source = Source::kEngine;
  }
  if (!entry.kernel && entry.next == Source::kCache) {
    entry.next = Source::kCompiled;
    if (const auto bytes = cache_ ? cache_->get(cache_key(entry)) : std::nullopt)
      entry.kernel = unpack_kernel(*bytes);
    entry.source = Source::kCache;
  }
  entry.seconds = watch.seconds();
  return entry.kernel.has_value();
}

void KernelLibrary::compile_image(Entry& entry) const {
  const Stopwatch watch;
  entry.kernel = compiler_.compile(entry.spec, arch_);
  entry.source = Source::kCompiled;
  entry.seconds = watch.seconds();
  if (cache_) cache_->put(cache_key(entry), pack_kernel(*entry.kernel));
}

void KernelLibrary::compile_all(const std::vector<Entry*>& entries,
                                const std::function<void()>& done) const {
  std::mutex mutex;
  std::condition_variable changed;
  std::atomic<size_t> next{0};
  size_t finished = 0;
  std::exception_ptr fault;
  const auto work = [&] {
    for (size_t i; (i = next++) < entries.size();) {
      std::exception_ptr caught;
      try {
        compile_image(*entries[i]);
      } catch (...) {
        caught = std::current_exception();
        next = entries.size();
      }
      const std::lock_guard lock(mutex);
      ++finished;
      if (caught && !fault) fault = caught;
      changed.notify_one();
    }
  };
  const size_t count = std::min(static_cast<size_t>(available_cores()), entries.size());
  std::vector<std::jthread> threads;
  for (size_t i = 0; i < count; ++i) threads.emplace_back(work);
  try {
    for (size_t reported = 0; reported < entries.size(); ++reported) {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return finished > reported || fault; });
      if (fault) break;
      lock.unlock();
      done();
    }
  } catch (...) {  // done() may end it
    next = entries.size();
    throw;
  }
  threads.clear();  // joins
  if (fault) std::rethrow_exception(fault);
}

bool KernelLibrary::load(Entry& entry) {
  char log[4096] = "";
  CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
  void* values[] = {log, reinterpret_cast<void*>(sizeof(log))};
  CUmodule module = nullptr;
  CUfunction function = nullptr;
  const char* call = "cuModuleLoadDataEx";
  CUresult result =
      driver_->cuModuleLoadDataEx(&module, entry.kernel->image.data(), 2, options, values);
  if (result == CUDA_SUCCESS) {
    call = "cuModuleGetFunction";
    result =
        driver_->cuModuleGetFunction(&function, module, std::string(entry.spec.entry()).c_str());
    if (result != CUDA_SUCCESS) driver_->cuModuleUnload(module);
  }
  if (result == CUDA_ERROR_OUT_OF_MEMORY) driver_->check(result, call, entry.spec.str());
  if (result != CUDA_SUCCESS && entry.source == Source::kCompiled)
    driver_->check(
        result, call,
        format("{} (compiled for {} by NVRTC {}; the driver is of CUDA {}.{}){}{}",
               entry.spec.str(), arch_, compiler_.nvrtc_version(), driver_->version / 1000,
               driver_->version % 1000 / 10, log[0] ? ": " : "", log));
  if (result != CUDA_SUCCESS) {
    log_debug("[cuda] the driver refuses {}: {} fails with {}", entry.spec.str(), call,
              static_cast<int>(result));
    entry.kernel.reset();
    count_rebuilt(entry);
    return false;
  }
  KernelStats& stats = entry.kernel->stats;
  const auto attribute = [&](CUfunction_attribute which) {
    int value = 0;
    driver_->check(driver_->cuFuncGetAttribute(&value, which, function), "cuFuncGetAttribute",
                   entry.spec.str());
    return value;
  };
  if (stats.registers == 0) {  // the driver assembled it
    stats.registers = attribute(CU_FUNC_ATTRIBUTE_NUM_REGS);
    stats.shared_bytes = attribute(CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES);
    stats.stack_bytes = attribute(CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES);
  }
  // The driver would divide shared memory and L1 to suit each kernel alone. Consecutive kernels
  // only share a multiprocessor when there is room for both and it need not be divided anew in
  // between.
  if constexpr (kMostSharedMemory)
    driver_->check(
        driver_->cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT,
                                    CU_SHAREDMEM_CARVEOUT_MAX_SHARED),
        "cuFuncSetAttribute", entry.spec.str());
  const std::lock_guard lock(mutex_);
  entry.module = module;
  entry.function = function;
  entry.shared_limit = std::max(0, kSharedBytes - stats.shared_bytes);
  return true;
}

CUfunction KernelLibrary::ready(Entry& entry, unsigned shared_bytes) const {
  const auto bytes = static_cast<int>(shared_bytes);
  if (bytes > entry.shared_limit) {
    driver_->check(driver_->cuFuncSetAttribute(
                       entry.function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, bytes),
                   "cuFuncSetAttribute",
                   format("{} with {} bytes of shared memory", entry.spec.str(), bytes));
    entry.shared_limit = bytes;
  }
  return entry.function;
}

CUfunction KernelLibrary::function(const KernelSpec& spec, unsigned shared_bytes) {
  BRAYTON_CHECK(driver_ != nullptr);
  {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(spec);
    if (found != entries_.end() && found->second->function)
      return ready(*found->second, shared_bytes);
  }
  const std::lock_guard build_lock(build_mutex_);
  Entry& entry = entry_of(spec);
  if (!entry.function) {
    ++late_;
    log_debug("[cuda] {} was not planned: it is compiled now", spec.str());
    build({&entry}, {});
  }
  const std::lock_guard lock(mutex_);
  return ready(entry, shared_bytes);
}

KernelImages KernelLibrary::images() const {
  const std::lock_guard build_lock(build_mutex_);
  const std::lock_guard lock(mutex_);
  KernelImages images;
  for (const Entry* entry : order_)
    if (entry->kernel) images[entry->key] = pack_kernel(*entry->kernel);
  return images;
}

std::vector<KernelLibrary::Report> KernelLibrary::reports() const {
  const std::lock_guard build_lock(build_mutex_);
  const std::lock_guard lock(mutex_);
  std::vector<Report> reports;
  for (const Entry* entry : order_)
    if (entry->kernel)
      reports.push_back({entry->spec.str(), entry->kernel->stats, entry->source, entry->seconds});
  return reports;
}

}  // namespace brayton::cuda
