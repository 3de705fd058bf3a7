#include "backends/cuda/driver.h"

#include <dlfcn.h>

#include "core/format.h"

namespace brayton::cuda {
namespace {

constexpr int kOldestVersion = 12080;

#define BRAYTON_CUDA_TEXT(name) #name

bool is_sticky(CUresult result) {
  switch (result) {
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_LAUNCH_FAILED:
    case CUDA_ERROR_LAUNCH_TIMEOUT:
    case CUDA_ERROR_ASSERT:
    case CUDA_ERROR_HARDWARE_STACK_ERROR:
    case CUDA_ERROR_ILLEGAL_INSTRUCTION:
    case CUDA_ERROR_MISALIGNED_ADDRESS:
    case CUDA_ERROR_INVALID_ADDRESS_SPACE:
    case CUDA_ERROR_INVALID_PC:
    case CUDA_ERROR_ECC_UNCORRECTABLE:
      return true;
    default:
      return false;
  }
}

}  // namespace

const Driver* Driver::load(std::string& fault) {
  void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    fault = format("libcuda.so.1 cannot be opened ({}): install NVIDIA's driver", dlerror());
    return nullptr;
  }
  auto* driver = new Driver();  // lives as long as the process
#define BRAYTON_CUDA_LOAD(name)                                                          \
  driver->name =                                                                         \
      reinterpret_cast<decltype(driver->name)>(dlsym(library, BRAYTON_CUDA_TEXT(name))); \
  if (!driver->name && fault.empty())                                                    \
    fault =                                                                              \
        format("the driver lacks {}: it must be of CUDA 12.8 or later", BRAYTON_CUDA_TEXT(name));
  BRAYTON_CUDA_DRIVER(BRAYTON_CUDA_LOAD)
#undef BRAYTON_CUDA_LOAD
  if (!fault.empty()) return nullptr;
  if (const CUresult result = driver->cuInit(0); result != CUDA_SUCCESS) {
    const char* text = "unknown error";
    driver->cuGetErrorString(result, &text);
    fault = format("cuInit failed: {}", text);
    return nullptr;
  }
  driver->cuDriverGetVersion(&driver->version);
  if (driver->version < kOldestVersion)
    fault = format("the driver must be of CUDA 12.8 or later, got {}.{}", driver->version / 1000,
                   driver->version % 1000 / 10);
  return fault.empty() ? driver : nullptr;
}

namespace {

struct Opened {
  const Driver* driver = nullptr;
  std::string fault;
};

}  // namespace

static const Opened& opened(const Driver* (*load)(std::string&)) {
  static const Opened result = [load] {
    Opened o;
    o.driver = load(o.fault);
    return o;
  }();
  return result;
}

const Driver& Driver::open() {
  const Opened& o = opened(&Driver::load);
  if (!o.driver) throw_error(ErrorCode::kEnvironment, "[cuda] {}, or use --device cpu", o.fault);
  return *o.driver;
}

std::string Driver::unavailable() { return opened(&Driver::load).fault; }

void Driver::fail(CUresult result, const char* call, const std::string& what) const {
  const char* name = "unknown";
  const char* text = "unknown error";
  cuGetErrorName(result, &name);
  cuGetErrorString(result, &text);
  const ErrorCode code =
      result == CUDA_ERROR_OUT_OF_MEMORY ? ErrorCode::kResourceExhausted : ErrorCode::kEnvironment;
  throw_error(code, "[cuda] {} failed{}{}: {} ({}){}", call, what.empty() ? "" : " for ", what,
              text, name,
              is_sticky(result) ? "; the GPU's context is lost: restart the process" : "");
}

}  // namespace brayton::cuda
