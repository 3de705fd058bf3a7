// The kernels of an engine on one device: which are wanted, where their images come from, loaded.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "backends/backend.h"
#include "backends/cuda/driver.h"
#include "backends/cuda/jit/compiled_kernel.h"
#include "backends/cuda/jit/compiler.h"
#include "backends/cuda/jit/kernel_spec.h"

namespace brayton::cuda {

class DiskCache;

// Images come from the engine file, else the disk cache, else NVRTC; one that the driver refuses
// comes from the next. May be used by any number of threads.
class KernelLibrary {
 public:
  enum class Source { kEngine, kCache, kCompiled };
  struct Report {
    std::string kernel;  // KernelSpec::str()
    KernelStats stats;
    Source source = Source::kCompiled;
    double seconds = 0;  // to get the image
  };
  using Progress = std::function<void(int64_t done, int64_t total)>;

  // Without a driver nothing is loaded. `cache` may be null; both must outlive the library, and the
  // context that is current in compile_pending() and function() as well.
  KernelLibrary(const Driver* driver, std::string arch, Compiler compiler, DiskCache* cache);
  ~KernelLibrary();
  KernelLibrary(const KernelLibrary&) = delete;
  KernelLibrary& operator=(const KernelLibrary&) = delete;

  // What images() of a library gave; those for another architecture are left out.
  void add_images(const KernelImages& images);

  void note(const KernelSpec& spec);  // wanted by the next compile_pending()
  // Gets the images of all that is wanted, on all cores, and loads them. `progress` is called from
  // this thread. Throws what Compiler throws, and for an image of NVRTC that the driver refuses.
  void compile_pending(const Progress& progress = {});

  // For a launch with so many bytes of dynamic shared memory. A kernel that is not loaded yet is
  // compiled and loaded now, and counted.
  CUfunction function(const KernelSpec& spec, unsigned shared_bytes);
  int64_t late_compilations() const { return late_; }

  KernelImages images() const;          // of every kernel here, for the engine file
  std::vector<Report> reports() const;  // in the order they were noted
  // Kernels that the images of add_images() lacked or that the driver refused.
  int64_t rebuilt() const { return rebuilt_; }

 private:
  struct Entry;
  struct SpecHash {
    size_t operator()(const KernelSpec& spec) const { return spec.hash(); }
  };

  Entry& entry_of(const KernelSpec& spec);
  void build(std::vector<Entry*> entries, const Progress& progress);
  bool find_image(Entry& entry) const;  // in the engine's images or the disk cache
  void compile_all(const std::vector<Entry*>& entries, const std::function<void()>& done) const;
  void compile_image(Entry& entry) const;
  bool load(Entry& entry);  // false: the image must come from elsewhere
  CUfunction ready(Entry& entry, unsigned shared_bytes) const;
  void count_rebuilt(Entry& entry);
  std::string cache_key(const Entry& entry) const;

  const Driver* const driver_;
  const std::string arch_;
  const Compiler compiler_;
  DiskCache* const cache_;

  mutable std::mutex build_mutex_;  // getting images and loading: one thread at a time
  KernelImages given_;
  bool expects_images_ = false;

  mutable std::mutex mutex_;  // the table and every entry's function; taken after build_mutex_
  std::unordered_map<KernelSpec, std::unique_ptr<Entry>, SpecHash> entries_;
  std::vector<Entry*> order_;

  std::atomic<int64_t> late_{0}, rebuilt_{0};
};

}  // namespace brayton::cuda
