// Every kernel over a model's real shapes, beside what the device's memory and arithmetic allow.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "brayton/llm.h"

namespace brayton {

struct KernelTime {
  std::string kernel;  // "linear", "attention decode"
  std::string shape;   // "64 x 6144 x 4096"
  double us = 0;       // median of a launch among others; weights, KV and large logits not cached
  double bytes = 0;    // that must be read and written
  double flops = 0;    // of matrix products
  double library_us = 0;  // of the vendor's kernel on the same inputs; 0: there is none
  double bound_us = 0;    // the longer of bytes / read bandwidth and flops / matrix rate
  double share() const { return bound_us / us; }
};

struct KernelBench {
  std::string device;
  double read_bandwidth = 0;  // bytes/s, measured in this run
  double matrix_rate = 0;     // FLOP/s of the fastest linear measured in this run
  std::vector<KernelTime> rows;
};

// LLaMA-3.1-8B's shapes in bfloat16, and 70B's halves for linears. Linears are what a program
// takes: the fastest kernel measured, a library's among them. Only rows whose "kernel shape" matches
// the regular expression `filter` (all when empty). `done` is called after each row.
KernelBench bench_kernels(const LoadOptions& options, const std::string& filter,
                          const std::function<void(const KernelTime&)>& done = {});

}  // namespace brayton
