// Device memory, and pinned host memory.
#pragma once

#include <cstddef>

#include "backends/backend.h"
#include "backends/cuda/driver.h"

namespace brayton::cuda {

// Zeroed, 256-byte aligned. Without a driver: addresses that nothing may touch, for planning.
// Throws Error(kResourceExhausted).
Buffer allocate_device(const Driver* driver, size_t bytes);
Buffer allocate_pinned(const Driver* driver, size_t bytes);

}  // namespace brayton::cuda
