// The content hash is XXH3's 64 bits, and every bit of the content counts.
#include "core/hash.h"

#include <gtest/gtest.h>

#include <vector>

namespace brayton {
namespace {

TEST(HashTest, IsXxh3) {
  EXPECT_EQ(hash64({}), 0x2d06800538d394c2u);  // xxHash's published value of the empty input
  EXPECT_NE(hash64({}, 1), hash64({}));
}

TEST(HashTest, EveryBitCounts) {
  for (size_t size : {1, 8, 17, 129, 300}) {  // XXH3 has a path for each
    std::vector<std::byte> bytes(size, std::byte{0x5a});
    const uint64_t whole = hash64(bytes);
    EXPECT_NE(hash64(std::span(bytes).first(size - 1)), whole);
    for (size_t bit = 0; bit < size * 8; ++bit) {
      bytes[bit / 8] ^= std::byte{1} << (bit % 8);
      ASSERT_NE(hash64(bytes), whole) << "size " << size << " bit " << bit;
      bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    }
  }
}

}  // namespace
}  // namespace brayton
