// Who owns which block of the KV cache. Pure: numbers in, numbers out.
#pragma once

#include <cstdint>
#include <vector>

namespace brayton {

using BlockId = int32_t;

// Blocks have reference counts, so that sequences may share them later.
class BlockPool {
 public:
  explicit BlockPool(int64_t blocks);

  int64_t total() const { return static_cast<int64_t>(references_.size()); }
  int64_t available() const { return static_cast<int64_t>(free_.size()); }

  // Appends `count` blocks to `out`; false, and nothing taken, when fewer are available.
  bool allocate(int64_t count, std::vector<BlockId>& out);
  // Both throw Error(kInternal) for a block that nobody owns.
  void share(BlockId block);
  void release(BlockId block);  // back to the pool with its last owner
  int64_t references(BlockId block) const { return references_.at(block); }

 private:
  std::vector<int32_t> references_;
  std::vector<BlockId> free_;
};

}  // namespace brayton
