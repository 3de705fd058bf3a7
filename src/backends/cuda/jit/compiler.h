// Kernel source and constants -> cubin or PTX, by NVRTC. Needs no GPU.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "backends/cuda/jit/compiled_kernel.h"
#include "backends/cuda/jit/embedded_sources.h"
#include "backends/cuda/jit/kernel_spec.h"

namespace brayton::cuda {

// May be used by any number of threads; copies share NVRTC.
class Compiler {
 public:
  // NVRTC is opened when it is first needed; it may lie in `folders`, separated by ':', or where
  // the system has it. `sources` must outlive the compiler.
  explicit Compiler(std::string folders = {},
                    std::span<const EmbeddedSource> sources = embedded_sources());

  // `arch`: "sm_90a" gives a cubin, "compute_80" PTX. Throws Error: kEnvironment without NVRTC,
  // kInvalidArgument or kUnsupported for the architecture, kInternal where the source has faults.
  CompiledKernel compile(const KernelSpec& spec, const std::string& arch) const;

  // What the result depends on but NVRTC's version: architecture, sources and options, readable:
  // "sm_90a 0123456789abcdef norm:rms_norm T=bf16 D=4096".
  std::string key(const KernelSpec& spec, const std::string& arch) const;

  std::string nvrtc_version() const;  // "13.0"; throws Error(kEnvironment) without NVRTC

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace brayton::cuda
