#include "llm/device.h"

#include "backends/cpu/cpu_backend.h"
#include "core/format.h"
#include "core/thread_pool.h"

namespace brayton {

std::unique_ptr<Backend> open_device(const LoadOptions& options) {
  const std::string& name = options.device;
  if (name == "cpu" || name == "auto") {
    if (options.threads < 0 || options.threads > 1024)
      throw_error(ErrorCode::kInvalidArgument, "[device] threads must be in [0, 1024], got {}",
                  options.threads);
    return make_cpu_backend({.threads = options.threads ? options.threads : available_cores(),
                             .level = options.cpu_level});
  }
  if (name == "cuda" || name.starts_with("cuda:"))
    throw_error(ErrorCode::kUnsupported,
                "[device] this build has no CUDA backend; use --device cpu, got '{}'", name);
  throw_error(ErrorCode::kInvalidArgument,
              "[device] device must be cpu, cuda, cuda:N or auto, got '{}'", name);
}

}  // namespace brayton
