// NVRTC, opened at run time: a table of its functions.
#pragma once

#include <nvrtc.h>

#include <string>
#include <vector>

namespace brayton::cuda {

// Every NVRTC function that the compiler calls.
#define BRAYTON_NVRTC(X)       \
  X(nvrtcVersion)              \
  X(nvrtcGetErrorString)       \
  X(nvrtcGetNumSupportedArchs) \
  X(nvrtcGetSupportedArchs)    \
  X(nvrtcCreateProgram)        \
  X(nvrtcDestroyProgram)       \
  X(nvrtcCompileProgram)       \
  X(nvrtcGetProgramLogSize)    \
  X(nvrtcGetProgramLog)        \
  X(nvrtcGetPTXSize)           \
  X(nvrtcGetPTX)               \
  X(nvrtcGetCUBINSize)         \
  X(nvrtcGetCUBIN)

struct Nvrtc {
  // Looks in `folders` (separated by ':'), then where the dynamic linker does, then where the
  // toolkit is installed. It stays open. Throws Error(kEnvironment) saying what to install.
  static Nvrtc open(const std::string& folders);

#define BRAYTON_NVRTC_MEMBER(name) decltype(&::name) name = nullptr;
  BRAYTON_NVRTC(BRAYTON_NVRTC_MEMBER)
#undef BRAYTON_NVRTC_MEMBER

  int major = 0, minor = 0;
  std::string path;        // of the library
  std::vector<int> archs;  // 75, 80, ...: sorted
};

}  // namespace brayton::cuda
