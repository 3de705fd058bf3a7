// The CUDA backend.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backends/backend.h"

namespace brayton {

struct CudaOptions {
  int device = 0;
  std::string arch;          // what kernels are compiled for; empty: the device's
  bool portable = false;     // only what every GPU since sm_80 has, as PTX of compute_80
  bool offline = false;      // no GPU: plans and compiles for `arch`, runs nothing
  bool tune = true;          // measures which linear kernels are fastest; not portable or offline
  std::string cache_dir;     // of compiled kernels and of measurements; empty: none
  std::string library_dirs;  // where NVRTC and cuBLASLt may lie, separated by ':'
};

// Throws Error(kEnvironment) without a driver, GPU or NVRTC, naming what to install, and
// Error(kInvalidArgument) for a device or an architecture that there is not.
std::unique_ptr<Backend> make_cuda_backend(const CudaOptions& options = {});

// What became of a kernel that a backend compiled or loaded.
struct KernelReport {
  std::string kernel;  // source, entry and constants
  std::string arch;
  int registers = 0;     // a thread
  int shared_bytes = 0;  // static, a block
  std::string faults;    // spills and lost pipelining; empty: none
};
std::vector<KernelReport> kernel_reports(const Backend& backend);

// Why there is no CUDA device to use; empty when there is one.
std::string cuda_unavailable();

}  // namespace brayton
