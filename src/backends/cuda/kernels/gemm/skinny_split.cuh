// How the skinny kernels divide their work. No includes: the tests on the CPU use it too.
//
// A unit is one chunk of k of one tile of weight rows; the chunks of a tile are consecutive. Block
// b takes the units from begin(b) to begin(b + 1), equal numbers but for one. So a tile is cut
// between consecutive blocks, its parts in the order of k; a block has at most two tiles that it
// shares with others: its first, and its last.
#pragma once

struct SkinnySplit {
  int tiles;
  int chunks;  // of a tile
  int blocks;  // at most tiles * chunks; the launcher sees to it that products fit 32 bits

  constexpr int begin(int block) const {
    return int(unsigned(block) * unsigned(tiles * chunks) / unsigned(blocks));
  }
  constexpr int block_of(int unit) const {
    return int((unsigned(unit + 1) * unsigned(blocks) - 1) / unsigned(tiles * chunks));
  }
  // The blocks that share a tile, first to last.
  constexpr int first_block(int tile) const { return block_of(tile * chunks); }
  constexpr int last_block(int tile) const { return block_of(tile * chunks + chunks - 1); }
  // Where a block leaves its sums of a tile that it shares: of two places each has.
  constexpr int place(int block, int tile) const {
    return 2 * block + (begin(block) < tile * chunks ? 1 : 0);
  }
};
