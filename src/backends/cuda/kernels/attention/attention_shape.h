// What attention kernels are chosen for: the shapes of a call, no contents.
#pragma once

#include "backends/cuda/cuda_stream.h"
#include "ops/attention.h"

namespace brayton::cuda {

// Decode: each of the first args.decodes sequences has one query token (row s of q and y).
void attention_decode(CudaStream& stream, const AttentionArgs& args);
// The sequences [first_sequence, S) of args, whose query rows are given by query_offsets on the
// device: at most `max_query` rows each and `rows` in all, as far as the host can tell from shapes.
struct PrefillRange {
  int64_t first_sequence = 0;
  int64_t sequences = 0;
  int64_t rows = 0;  // an upper bound of their query rows: T - first_sequence
};
void attention_prefill(CudaStream& stream, const AttentionArgs& args, const PrefillRange& range);
// The same on Hopper's tensor cores (wgmma, TMA): bf16 and f16, head sizes 64, 128 and 256.
bool prefill_hopper_supports(const DeviceInfo& device, const AttentionArgs& args);
void attention_prefill_hopper(CudaStream& stream, const AttentionArgs& args,
                              const PrefillRange& range);

}  // namespace brayton::cuda
