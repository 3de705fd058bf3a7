// What stands in for the CUDA backend in a build without it.
#include "backends/cuda/cuda_backend.h"
#include "core/format.h"

namespace brayton {
namespace {

constexpr const char* kFault =
    "this build has no CUDA backend: run scripts/fetch-cuda.sh or install the CUDA toolkit "
    "(12.8 or later), then configure and build again";

}  // namespace

std::unique_ptr<Backend> make_cuda_backend(const CudaOptions&) {
  throw_error(ErrorCode::kUnsupported, "[cuda] {}", kFault);
}

std::vector<KernelReport> kernel_reports(const Backend&) { return {}; }

std::string cuda_unavailable() { return kFault; }

}  // namespace brayton
