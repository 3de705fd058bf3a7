// Which work there is in a prefill call: an item is one tile of query tokens of one group of packed
// heads. Lengths lie on the device only, so every block finds its items itself.
#pragma once

#include "device/types.cuh"

struct PrefillTile {
  int tokens;      // at most the finder's kTokens; 0: no more work
  int first_row;   // of q and y: the first token's
  int position;    // of the first token in its sequence
  int length;      // keys of the sequence
  int sequence;    // row of the block table
  int head_group;  // of kPack heads
};

// Items are ordered for the longest to start first: sequences by their keys (within 32 of them),
// the tiles of each from its end. Head groups lie together, but no more at a time than have keys
// and values for about kSectionBytes, so that blocks that run together share them in L2. kKeyBytes:
// key and value of one token for one head group.
template <int kTokens, int kHeadGroups, int kKeyBytes>
class TileFinder {
 public:
  __device__ __forceinline__ TileFinder(const int32_t* offsets, const int32_t* lengths,
                                        int first_sequence, int sequences)
      : offsets_(offsets + first_sequence),
        lengths_(lengths + first_sequence),
        first_sequence_(first_sequence),
        sequences_(sequences) {}

  // Called by whole warps, with items that never get smaller.
  __device__ __forceinline__ PrefillTile find(int item) {
    while (item >= end_) {
      if (next_ >= sequences_) return {};
      load_sequences();
    }
    const int items = tiles_of(tokens_) * kHeadGroups;
    const unsigned owners = __ballot_sync(~0u, item >= start_ && item < start_ + items);
    const int owner = __ffs(owners) - 1;
    const int tokens = __shfl_sync(~0u, tokens_, owner);
    PrefillTile tile;
    tile.length = __shfl_sync(~0u, length_, owner);
    tile.sequence = first_sequence_ + next_ - 32 + owner;

    const int rank = item - __shfl_sync(~0u, start_, owner);
    const int tiles = tiles_of(tokens);
    const unsigned bytes = static_cast<unsigned>(tile.length) * kKeyBytes;
    const int most = max(1, static_cast<int>(kSectionBytes / bytes));
    const int sections = (kHeadGroups + most - 1) / most;
    const int section_heads = (kHeadGroups + sections - 1) / sections;
    const int section = rank / (section_heads * tiles);
    const int first_head = section * section_heads;
    const int heads = min(section_heads, kHeadGroups - first_head);
    const int rest = rank - first_head * tiles;
    const int skipped = (tiles - 1 - rest / heads) * kTokens;
    tile.head_group = first_head + rest % heads;
    tile.tokens = min(kTokens, tokens - skipped);
    tile.first_row = __shfl_sync(~0u, row_, owner) + skipped;
    tile.position = tile.length - tokens + skipped;
    return tile;
  }

 private:
  static constexpr unsigned kSectionBytes = 32u << 20;

  static __device__ __forceinline__ int tiles_of(int tokens) {
    return (tokens + kTokens - 1) / kTokens;
  }

  // The next 32 sequences, one a lane.
  __device__ __forceinline__ void load_sequences() {
    const int lane = threadIdx.x % 32;
    const int s = next_ + lane;
    row_ = tokens_ = length_ = 0;
    if (s < sequences_) {
      row_ = offsets_[s];
      tokens_ = offsets_[s + 1] - row_;
      length_ = lengths_[s];
    }
    const int items = tiles_of(tokens_) * kHeadGroups;
    int total = 0;
    start_ = end_;
    const int count = min(32, sequences_ - next_);
#pragma unroll 1
    for (int other = 0; other < count; ++other) {
      const int other_length = __shfl_sync(~0u, length_, other);
      const int other_items = __shfl_sync(~0u, items, other);
      const bool before = other_length > length_ || (other_length == length_ && other < lane);
      if (before) start_ += other_items;
      total += other_items;
    }
    end_ += total;
    next_ += 32;
  }

  const int32_t* offsets_;
  const int32_t* lengths_;
  int first_sequence_, sequences_;
  int next_ = 0;                                       // first sequence that is not loaded yet
  int end_ = 0;                                        // items up to there
  int row_ = 0, tokens_ = 0, length_ = 0, start_ = 0;  // of this lane's sequence
};
