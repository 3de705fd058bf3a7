// sample and admit_slots. See sample.cuh, greedy.cuh and admit_slots.cuh.
#pragma once

#include "backends/cuda/cuda_stream.h"
#include "ops/admit_slots.h"
#include "ops/sample.h"

namespace brayton::cuda {

struct SampleConfig {
  bool cluster = false;  // teams are clusters
  int team = 1;          // blocks that share a row
  int threads = 256;     // of a block
  int blocks = 2;        // of a multiprocessor that the registers must suffice for

  int64_t shared_bytes() const;                  // of a block
  int64_t workspace_bytes(int64_t vocab) const;  // of a row
};

SampleConfig choose_sample(const DeviceInfo& device, DType logits, int64_t rows, int64_t vocab);

// Blocks that share a row of greedy.cuh.
int choose_greedy(const DeviceInfo& device, int64_t rows, int64_t vocab);

void sample(Stream& stream, const SampleArgs& args);
void admit_slots(Stream& stream, const AdmitSlotsArgs& args);

}  // namespace brayton::cuda
