// The CUDA driver, opened at run time: a table of its functions.
#pragma once

#include <cuda.h>

#include <memory>
#include <string>

namespace brayton::cuda {

// Every driver function that the backend calls.
#define BRAYTON_CUDA_DRIVER(X)                                                                   \
  X(cuInit)                                                                                      \
  X(cuDriverGetVersion) X(cuGetErrorName) X(cuGetErrorString) X(cuDeviceGetCount) X(cuDeviceGet) \
      X(cuDeviceGetName) X(cuDeviceGetAttribute) X(cuDeviceTotalMem) X(cuDevicePrimaryCtxRetain) \
          X(cuDevicePrimaryCtxRelease) X(cuCtxSetCurrent) X(cuMemGetInfo) X(cuMemAlloc)          \
              X(cuMemFree) X(cuMemAllocHost) X(cuMemFreeHost) X(cuMemcpyAsync)                   \
                  X(cuMemcpyHtoDAsync) X(cuMemcpyDtoHAsync) X(cuMemsetD8Async) X(cuStreamCreate) \
                      X(cuStreamDestroy) X(cuStreamSynchronize) X(cuStreamBeginCapture)          \
                          X(cuStreamEndCapture) X(cuGraphInstantiate) X(cuGraphLaunch)           \
                              X(cuGraphExecDestroy) X(cuGraphDestroy) X(cuEventCreate)           \
                                  X(cuEventDestroy) X(cuEventRecord) X(cuEventSynchronize)       \
                                      X(cuEventElapsedTime) X(cuModuleLoadDataEx)                \
                                          X(cuModuleUnload) X(cuModuleGetFunction)               \
                                              X(cuFuncSetAttribute) X(cuFuncGetAttribute)        \
                                                  X(cuLaunchKernelEx) X(cuTensorMapEncodeTiled)

// Opened once a process. `check` turns a failed call into an Error; after a sticky error (the
// context is lost) every further call fails the same way and the message says so.
class Driver {
 public:
  // Throws Error(kEnvironment) when there is no driver or it is too old.
  static const Driver& open();
  // Why open() would fail; empty when it would not.
  static std::string unavailable();

#define BRAYTON_CUDA_MEMBER(name) decltype(&::name) name = nullptr;
  BRAYTON_CUDA_DRIVER(BRAYTON_CUDA_MEMBER)
#undef BRAYTON_CUDA_MEMBER

  int version = 0;  // 13000: CUDA 13.0

  // `what`: kernel and shapes, or sizes.
  void check(CUresult result, const char* call, const std::string& what = {}) const {
    if (result != CUDA_SUCCESS) fail(result, call, what);
  }

 private:
  Driver() = default;
  static const Driver* load(std::string& fault);
  [[noreturn]] void fail(CUresult result, const char* call, const std::string& what) const;
};

}  // namespace brayton::cuda
