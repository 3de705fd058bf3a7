#include "executor/kv_cache/block_pool.h"

#include "core/check.h"

namespace brayton {

BlockPool::BlockPool(int64_t blocks) {
  BRAYTON_CHECK_GE(blocks, 0);
  references_.assign(static_cast<size_t>(blocks), 0);
  free_.reserve(static_cast<size_t>(blocks));
  for (int64_t block = blocks; block-- > 0;) free_.push_back(static_cast<BlockId>(block));
}

bool BlockPool::allocate(int64_t count, std::vector<BlockId>& out) {
  BRAYTON_CHECK_GE(count, 0);
  if (count > available()) return false;
  for (int64_t i = 0; i < count; ++i) {
    const BlockId block = free_.back();
    free_.pop_back();
    references_[block] = 1;
    out.push_back(block);
  }
  return true;
}

void BlockPool::share(BlockId block) {
  BRAYTON_CHECK(block >= 0 && block < total());
  BRAYTON_CHECK_GE(references_[block], 1);
  ++references_[block];
}

void BlockPool::release(BlockId block) {
  BRAYTON_CHECK(block >= 0 && block < total());
  BRAYTON_CHECK_GE(references_[block], 1);
  if (--references_[block] == 0) free_.push_back(block);
}

}  // namespace brayton
