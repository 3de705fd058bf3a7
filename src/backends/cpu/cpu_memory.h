// Memory of the CPU backend.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/backend.h"

namespace brayton::cpu {

// Zeroed, at least 64-byte aligned. `huge`: ask for huge pages, for what is read as a whole.
// Throws Error(kResourceExhausted).
Buffer allocate_memory(size_t bytes, bool huge = false);

int64_t available_memory();  // bytes that this machine has left

}  // namespace brayton::cpu
