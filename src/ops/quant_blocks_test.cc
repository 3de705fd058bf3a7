// Stored weights mean what GGUF's own tools, NumPy and ml_dtypes say, bit for bit.
#include "ops/quant_blocks.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>
#include <span>
#include <vector>

#include "brayton/error.h"
#include "core/mapped_file.h"
#include "ops/quant_formats.h"

namespace brayton {
namespace {

// A record of quant_golden.bin: stored bits and the float32 values they mean or come from.
struct Record {
  bool encode;
  DType dtype;
  std::vector<std::byte> stored;
  std::vector<float> values;
};

std::vector<Record> golden() {
  const auto file = MappedFile::open(BRAYTON_TEST_DATA "/quant_golden.bin");
  std::span<const std::byte> rest = file->bytes().subspan(8);
  std::vector<Record> records;
  while (!rest.empty()) {
    struct {
      uint8_t encode, dtype;
      uint16_t zero;
      uint32_t elements, bytes;
    } head;
    std::memcpy(&head, rest.data(), sizeof(head));
    rest = rest.subspan(sizeof(head));
    Record record{head.encode == 1, static_cast<DType>(head.dtype), {}, {}};
    record.stored.assign(rest.begin(), rest.begin() + head.bytes);
    record.values.resize(head.elements);
    std::memcpy(record.values.data(), rest.data() + head.bytes, head.elements * sizeof(float));
    rest = rest.subspan(head.bytes + head.elements * sizeof(float));
    records.push_back(std::move(record));
  }
  return records;
}

TEST(QuantBlocks, DecodeAsTheOracles) {
  std::set<DType> seen;
  for (const Record& record : golden()) {
    if (record.encode) continue;
    seen.insert(record.dtype);
    // One byte off: the bits of a file may lie anywhere.
    std::vector<std::byte> shifted(record.stored.size() + 1);
    std::memcpy(shifted.data() + 1, record.stored.data(), record.stored.size());
    std::vector<float> got(record.values.size());
    to_f32(record.dtype, shifted.data() + 1, static_cast<int64_t>(got.size()), got.data());
    for (size_t i = 0; i < got.size(); ++i) {
      if (std::isnan(record.values[i]) && std::isnan(got[i])) continue;
      ASSERT_EQ(std::bit_cast<uint32_t>(got[i]), std::bit_cast<uint32_t>(record.values[i]))
          << dtype_name(record.dtype) << " element " << i << ": " << got[i] << " must be "
          << record.values[i];
    }
  }
  EXPECT_EQ(seen.size(), 15u);  // ten block types, f16, bf16, f64, two of f8
}

TEST(QuantBlocks, EncodeAsTheOracles) {
  std::set<DType> seen;
  for (const Record& record : golden()) {
    if (!record.encode) continue;
    seen.insert(record.dtype);
    std::vector<std::byte> got(record.stored.size());
    from_f32(record.dtype, record.values.data(), static_cast<int64_t>(record.values.size()),
             got.data());
    for (size_t i = 0; i < got.size(); ++i)
      ASSERT_EQ(got[i], record.stored[i]) << dtype_name(record.dtype) << " byte " << i;
  }
  EXPECT_EQ(seen.size(), 3u);
}

TEST(QuantBlocks, Float32IsCopied) {
  const float values[] = {1.5f, -0.0f, std::numeric_limits<float>::infinity()};
  float stored[3], back[3];
  from_f32(DType::kF32, values, 3, stored);
  to_f32(DType::kF32, stored, 3, back);
  EXPECT_EQ(std::memcmp(values, back, sizeof(values)), 0);
}

TEST(QuantBlocks, Q8_0TakesValuesThatAreNotFinite) {
  std::vector<float> values(32, 1.0f);
  values[3] = std::numeric_limits<float>::quiet_NaN();
  BlockQ8_0 block;
  from_f32(DType::kQ8_0, values.data(), 32, &block);
  EXPECT_EQ(block.qs[3], 0);
  EXPECT_EQ(block.qs[4], 127);
  values[3] = std::numeric_limits<float>::infinity();
  from_f32(DType::kQ8_0, values.data(), 32, &block);
  EXPECT_EQ(block.d, 0x7c00);
  values.assign(32, std::numeric_limits<float>::denorm_min());
  from_f32(DType::kQ8_0, values.data(), 32, &block);
  EXPECT_EQ(block.d, 0);
}

TEST(QuantBlocks, BlocksHaveTheSizesOfTheirTypes) {
  EXPECT_EQ(sizeof(BlockQ4_0), static_cast<size_t>(dtype_info(DType::kQ4_0).block_bytes));
  EXPECT_EQ(sizeof(BlockQ4_1), static_cast<size_t>(dtype_info(DType::kQ4_1).block_bytes));
  EXPECT_EQ(sizeof(BlockQ5_0), static_cast<size_t>(dtype_info(DType::kQ5_0).block_bytes));
  EXPECT_EQ(sizeof(BlockQ5_1), static_cast<size_t>(dtype_info(DType::kQ5_1).block_bytes));
  EXPECT_EQ(sizeof(BlockQ8_0), static_cast<size_t>(dtype_info(DType::kQ8_0).block_bytes));
  EXPECT_EQ(sizeof(BlockQ2_K), static_cast<size_t>(dtype_info(DType::kQ2_K).block_bytes));
  EXPECT_EQ(sizeof(BlockQ3_K), static_cast<size_t>(dtype_info(DType::kQ3_K).block_bytes));
  EXPECT_EQ(sizeof(BlockQ4_K), static_cast<size_t>(dtype_info(DType::kQ4_K).block_bytes));
  EXPECT_EQ(sizeof(BlockQ5_K), static_cast<size_t>(dtype_info(DType::kQ5_K).block_bytes));
  EXPECT_EQ(sizeof(BlockQ6_K), static_cast<size_t>(dtype_info(DType::kQ6_K).block_bytes));
}

TEST(QuantBlocks, RefuseOtherTypesAndPartialBlocks) {
  float values[32] = {};
  std::byte bits[256] = {};
  const auto message = [](auto&& call) -> std::string {
    try {
      call();
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(message([&] { to_f32(DType::kI32, bits, 1, values); }),
            "[to_f32] dtype must be a float or block type, got i32");
  EXPECT_EQ(message([&] { from_f32(DType::kQ4_0, values, 32, bits); }),
            "[from_f32] dtype must be f32, f16, bf16 or q8_0, got q4_0");
  EXPECT_NE(message([&] { to_f32(DType::kQ8_0, bits, 31, values); }).find("(31 against 0)"),
            std::string::npos);
}

}  // namespace
}  // namespace brayton
