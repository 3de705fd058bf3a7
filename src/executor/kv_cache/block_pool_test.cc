// A block has an owner or is free, never both; counts return to where they started.
#include "executor/kv_cache/block_pool.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "brayton/error.h"

namespace brayton {
namespace {

TEST(BlockPool, TwoOwnersTakeAndReturn) {
  BlockPool pool(5);
  std::vector<BlockId> a, b;
  EXPECT_TRUE(pool.allocate(3, a));
  EXPECT_TRUE(pool.allocate(2, b));
  std::set<BlockId> all(a.begin(), a.end());
  all.insert(b.begin(), b.end());
  EXPECT_EQ(all, (std::set<BlockId>{0, 1, 2, 3, 4}));
  EXPECT_EQ(pool.available(), 0);
  for (BlockId block : a) pool.release(block);
  EXPECT_EQ(pool.available(), 3);
}

TEST(BlockPool, TooManyTakesNothing) {
  BlockPool pool(2);
  std::vector<BlockId> blocks;
  EXPECT_FALSE(pool.allocate(3, blocks));
  EXPECT_TRUE(blocks.empty());
  EXPECT_EQ(pool.available(), 2);
  EXPECT_TRUE(pool.allocate(0, blocks));
  EXPECT_TRUE(blocks.empty());
}

TEST(BlockPool, ASharedBlockIsFreedByItsLastOwner) {
  BlockPool pool(1);
  std::vector<BlockId> blocks;
  pool.allocate(1, blocks);
  pool.share(0);
  EXPECT_EQ(pool.references(0), 2);
  pool.release(0);
  EXPECT_EQ(pool.available(), 0);
  pool.release(0);
  EXPECT_EQ(pool.available(), 1);
}

TEST(BlockPool, ReturningOrSharingWhatNobodyOwnsIsABug) {
  BlockPool pool(2);
  std::vector<BlockId> blocks;
  pool.allocate(1, blocks);
  pool.release(blocks[0]);
  EXPECT_THROW(pool.release(blocks[0]), Error);
  EXPECT_THROW(pool.share(blocks[0]), Error);
  EXPECT_THROW(pool.release(2), Error);
  EXPECT_THROW(pool.release(-1), Error);
  EXPECT_EQ(pool.available(), 2);
}

TEST(BlockPool, RandomUseLosesNothing) {
  const uint64_t seed = 31;
  std::mt19937_64 random(seed);
  BlockPool pool(97);
  std::map<BlockId, int64_t> owners;  // block -> references
  std::vector<BlockId> held;          // one entry per reference
  for (int round = 0; round < 100000; ++round) {
    const uint64_t action = random() % 3;
    if (action == 0) {
      std::vector<BlockId> taken;
      const auto count = static_cast<int64_t>(random() % 8);
      const bool fits = count <= pool.available();
      ASSERT_EQ(pool.allocate(count, taken), fits) << "seed " << seed << " round " << round;
      for (BlockId block : taken) {
        ASSERT_EQ(owners.count(block), 0u) << "doubly owned; seed " << seed << " round " << round;
        owners[block] = 1;
        held.push_back(block);
      }
    } else if (!held.empty()) {
      const size_t at = random() % held.size();
      const BlockId block = held[at];
      if (action == 1) {
        pool.share(block);
        ++owners[block];
        held.push_back(block);
      } else {
        pool.release(block);
        held[at] = held.back();
        held.pop_back();
        if (--owners[block] == 0) owners.erase(block);
      }
    }
    ASSERT_EQ(pool.available(), pool.total() - static_cast<int64_t>(owners.size()))
        << "seed " << seed << " round " << round;
  }
  for (const auto& [block, references] : owners) ASSERT_EQ(pool.references(block), references);
  for (BlockId block : held) pool.release(block);
  EXPECT_EQ(pool.available(), pool.total());
}

}  // namespace
}  // namespace brayton
