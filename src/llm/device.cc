#include "llm/device.h"

#include <charconv>

#include "backends/cpu/cpu_backend.h"
#include "backends/cuda/cuda_backend.h"
#include "core/format.h"
#include "core/thread_pool.h"

namespace brayton {
namespace {

CudaOptions cuda_options(const LoadOptions& options) {
  return {.portable = options.portable_kernels,
          .cache_dir = options.cache_dir,
          .library_dirs = options.library_dirs};
}

}  // namespace

std::unique_ptr<Backend> open_device(const LoadOptions& options) {
  const std::string& name = options.device;
  if (name == "cpu" || (name == "auto" && !cuda_unavailable().empty())) {
    if (options.threads < 0 || options.threads > 1024)
      throw_error(ErrorCode::kInvalidArgument, "[device] threads must be in [0, 1024], got {}",
                  options.threads);
    return make_cpu_backend({.threads = options.threads ? options.threads : available_cores(),
                             .level = options.cpu_level});
  }
  CudaOptions cuda = cuda_options(options);
  if (name == "cuda" || name == "auto") return make_cuda_backend(cuda);
  if (name.starts_with("cuda:")) {
    const char* const end = name.data() + name.size();
    const auto [rest, fault] = std::from_chars(name.data() + 5, end, cuda.device);
    if (fault == std::errc() && rest == end) return make_cuda_backend(cuda);
  }
  throw_error(ErrorCode::kInvalidArgument,
              "[device] device must be cpu, cuda, cuda:N or auto, got '{}'", name);
}

std::unique_ptr<Backend> open_architecture(const std::string& arch, const LoadOptions& options) {
  CudaOptions cuda = cuda_options(options);
  cuda.arch = arch;
  cuda.offline = true;
  return make_cuda_backend(cuda);
}

}  // namespace brayton
