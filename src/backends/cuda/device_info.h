// What kernels are chosen for. Known without a GPU too, by the architecture's name.
#pragma once

#include <cstdint>
#include <string>

namespace brayton::cuda {

struct DeviceInfo {
  std::string name;     // "NVIDIA H100 80GB HBM3"
  std::string arch;     // what kernels are compiled for: "sm_90a", "sm_86", "compute_80"
  int capability = 90;  // 10 * major + minor
  bool hopper = false;  // wgmma, TMA, clusters, programmatic launch: `arch` is sm_90a
  bool programmatic_launch = true;  // kernels may start before their predecessor has ended
  int multiprocessors = 132;
  int64_t shared_per_block = 227 * 1024;  // bytes a block may ask for
  int64_t l2_bytes = 50 << 20;
  int64_t memory_bytes = 0;
};

}  // namespace brayton::cuda
