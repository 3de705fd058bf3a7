// unpack_step: every part of the packed inputs is copied, or padded, by all threads together. Bound
// by latency: the header is read, then all the rest. The header's sizes are read here because a
// captured step is replayed with other sizes; only those with padding are parameters.
//
//   THREADS  of a block
#include "device/dependency.cuh"
#include "device/types.cuh"

constexpr int kThreads = THREADS;

extern "C" __global__ void __launch_bounds__(kThreads)
    unpack_step(const int* packed, const int* sampled, int sampled_slots, int* token_ids,
                int* positions, int* logit_rows, int* query_offsets, int* kv_lengths, int* slots,
                int* block_table, int64_t table_stride, int padded_tokens, int padded_sequences,
                int padded_rows, int scratch_block) {
  launch_dependents();
  const int first = blockIdx.x * kThreads + threadIdx.x;
  const int step = gridDim.x * kThreads;
  wait_for_dependency();
  const int tokens = packed[0], sequences = packed[1], rows = packed[2], columns = packed[3];
  const int* packed_ids = packed + 4;
  const int* packed_positions = packed_ids + tokens;
  const int* packed_rows = packed_positions + tokens;
  const int* packed_offsets = packed_rows + rows;
  const int* packed_lengths = packed_offsets + sequences + 1;
  const int* packed_slots = packed_lengths + sequences;
  const int* packed_table = packed_slots + sequences;

  // An item is a token, a logit row, a sequence, or a block table's entry; most threads get one.
  const int table = sequences * columns;
  const int items = padded_tokens + padded_rows + padded_sequences + table;
#pragma unroll 1
  for (int item = first; item < items; item += step) {
    int i = item;
    if (i < padded_tokens) {
      const bool real = i < tokens;
      int id = real ? packed_ids[i] : 0;
      const int position = real ? packed_positions[i] : 0;
      // A slot that is not there leaves the id negative: no token, and embedding says so.
      if (id < 0 && -(id + 1) < sampled_slots) id = sampled[-(id + 1)];
      token_ids[i] = id;
      positions[i] = position;
      continue;
    }
    i -= padded_tokens;
    if (i < padded_rows) {
      logit_rows[i] = i < rows ? packed_rows[i] : 0;
      continue;
    }
    i -= padded_rows;
    if (i < padded_sequences) {
      const bool real = i < sequences;
      const int offset = packed_offsets[min(i, sequences)];
      const int length = real ? packed_lengths[i] : 1;
      const int slot = real ? packed_slots[i] : -1;
      query_offsets[i] = offset + max(i - sequences, 0);
      kv_lengths[i] = length;
      slots[i] = slot;
      if (i == padded_sequences - 1)
        query_offsets[i + 1] = packed_offsets[sequences] + padded_sequences - sequences;
      if (!real) block_table[i * table_stride] = scratch_block;
      continue;
    }
    i -= padded_sequences;
    const int s = i / columns;
    block_table[s * table_stride + (i - s * columns)] = packed_table[i];
  }
}
