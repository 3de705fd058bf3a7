// One step's inputs: a ragged batch of new tokens on top of cached ones (execution.md 1).
#pragma once

#include <cstdint>
#include <vector>

namespace brayton {

// Plain arrays on the host. Sequence s has tokens [query_offsets[s], query_offsets[s + 1]) of the
// packed T, and kv_lengths[s] keys after the step; its cache blocks are row s of the table.
struct StepInputs {
  std::vector<int32_t> token_ids;      // [T]; -1 - slot: the token that the slot drew last
  std::vector<int32_t> positions;      // [T]
  std::vector<int32_t> query_offsets;  // [S + 1], starts with 0
  std::vector<int32_t> kv_lengths;     // [S]
  std::vector<int32_t> slots;          // [S] of the sequences' state on the device
  std::vector<int32_t> block_table;    // [S, max_blocks]
  int64_t max_blocks = 0;              // columns of block_table
  std::vector<int32_t> logit_rows;     // [R] rows of T
  int64_t decodes = 0;                 // each of the first so many sequences has one token

  int64_t tokens() const { return static_cast<int64_t>(token_ids.size()); }
  int64_t sequences() const { return static_cast<int64_t>(kv_lengths.size()); }
  int64_t rows() const { return static_cast<int64_t>(logit_rows.size()); }
  void clear();  // keeps the memory
};

}  // namespace brayton
