// The speed of reading memory, as a bound for kernels that stream weights.
#pragma once

#include "core/thread_pool.h"

namespace brayton::cpu {

// Bytes a second, the best of several passes over more memory than caches hold.
double measure_read_bandwidth(ThreadPool& pool);

}  // namespace brayton::cpu
