#include "backends/cuda/device_query.h"

#include <algorithm>
#include <vector>

#include "core/format.h"

namespace brayton::cuda {
namespace {

struct Nominal {
  const char* arch;
  int capability;
  int multiprocessors;
  int shared_kib;  // a block may ask for
  int l2_mib;
};

// One well-known GPU of each.
constexpr Nominal kNominal[] = {
    {"sm_80", 80, 108, 163, 40},    // A100
    {"sm_86", 86, 84, 99, 6},       // RTX 3090
    {"sm_89", 89, 128, 99, 72},     // RTX 4090
    {"sm_90a", 90, 132, 227, 50},   // H100
    {"sm_120", 120, 170, 99, 96},   // RTX 5090
    {"compute_80", 80, 108, 99, 6}  // anything since
};

}  // namespace

DeviceInfo query_device(const Driver& driver, CUdevice device) {
  DeviceInfo info;
  char name[256] = {};
  driver.check(driver.cuDeviceGetName(name, sizeof name - 1, device), "cuDeviceGetName");
  info.name = name;
  const auto attribute = [&](CUdevice_attribute which) {
    int value = 0;
    driver.check(driver.cuDeviceGetAttribute(&value, which, device), "cuDeviceGetAttribute");
    return value;
  };
  info.capability = 10 * attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) +
                    attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  if (info.capability < 80)
    throw_error(ErrorCode::kUnsupported,
                "[cuda] {} has compute capability {}.{}, Brayton needs 8.0 or later; use "
                "--device cpu",
                info.name, info.capability / 10, info.capability % 10);
  info.multiprocessors = attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  info.shared_per_block = attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
  info.l2_bytes = attribute(CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE);
  size_t bytes = 0;
  driver.check(driver.cuDeviceTotalMem(&bytes, device), "cuDeviceTotalMem");
  info.memory_bytes = static_cast<int64_t>(bytes);
  set_arch(info, info.capability == 90 ? "sm_90a" : format("sm_{}", info.capability));
  return info;
}

DeviceInfo nominal_device(const std::string& arch) {
  std::vector<std::string> known;
  for (const Nominal& n : kNominal) {
    known.push_back(n.arch);
    if (arch != n.arch) continue;
    DeviceInfo info;
    info.name = format("any {}", arch);
    info.capability = n.capability;
    info.multiprocessors = n.multiprocessors;
    info.shared_per_block = n.shared_kib * 1024;
    info.l2_bytes = int64_t{n.l2_mib} << 20;
    set_arch(info, arch);
    return info;
  }
  throw_error(ErrorCode::kInvalidArgument, "[cuda] the architecture must be one of {}, got '{}'",
              fmt::join(known, ", "), arch);
}

void set_arch(DeviceInfo& device, const std::string& arch) {
  const bool portable = arch.starts_with("compute_");
  const std::string own = device.capability == 90 ? "sm_90a" : format("sm_{}", device.capability);
  if (!portable && arch != own)
    throw_error(ErrorCode::kInvalidArgument, "[cuda] {} runs kernels of {} or compute_80, got '{}'",
                device.name, own, arch);
  device.arch = arch;
  device.hopper = arch == "sm_90a";
  device.programmatic_launch = !portable && device.capability >= 90;
  if (portable) device.shared_per_block = std::min<int64_t>(device.shared_per_block, 99 * 1024);
}

}  // namespace brayton::cuda
