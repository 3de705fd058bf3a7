// DeviceInfo of a GPU, or of an architecture by name.
#pragma once

#include <string>

#include "backends/cuda/device_info.h"
#include "backends/cuda/driver.h"

namespace brayton::cuda {

DeviceInfo query_device(const Driver& driver, CUdevice device);
// Typical figures of that architecture: "sm_80", "sm_86", "sm_89", "sm_90a", "sm_120",
// "compute_80". Throws Error(kInvalidArgument) for another name.
DeviceInfo nominal_device(const std::string& arch);
// Compiles for `arch` on this device: switches off what the architecture lacks.
// Throws Error(kInvalidArgument) when the device cannot run it.
void set_arch(DeviceInfo& device, const std::string& arch);

}  // namespace brayton::cuda
