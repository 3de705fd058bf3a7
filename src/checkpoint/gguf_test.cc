// GGUF v2 and v3 are read with all value and tensor types; a file that lies is refused by name.
#include "checkpoint/gguf.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "brayton/error.h"
#include "testing/sample_files.h"

namespace brayton {
namespace {

using testing::GgufWriter;
using Edit = std::function<void(GgufWriter&)>;

std::shared_ptr<const GgufFile> parse(const GgufWriter& writer) {
  return GgufFile::parse(MappedFile::from_bytes("g", writer.bytes()));
}

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

// Of a file with one metadata value, or one or two tensors and 64 bytes of data.
std::string value_fault(const Edit& edit) {
  GgufWriter writer(3, 0, 1);
  edit(writer);
  return message_of([&] { parse(writer); });
}
std::string tensor_fault(uint64_t count, const Edit& edit) {
  GgufWriter writer(3, count, 0);
  edit(writer);
  writer.data(32, 64);
  return message_of([&] { parse(writer); });
}

TEST(Gguf, EveryValueTypeIsRead) {
  GgufWriter writer(2, 0, 13);
  writer.key("u8", 0).number(uint8_t{200});
  writer.key("i8", 1).number(int8_t{-100});
  writer.key("u16", 2).number(uint16_t{60000});
  writer.key("i16", 3).number(int16_t{-30000});
  writer.key("u32", 4).number(uint32_t{4000000000});
  writer.key("i32", 5).number(int32_t{-2000000000});
  writer.key("f32", 6).number(1.5f);
  writer.key("bool", 7).number(uint8_t{1});
  writer.key("string", 8).string("caf\xc3\xa9 \xff\xe2\x82");
  writer.key("u64", 10).number(~uint64_t{0});
  writer.key("i64", 11).number(INT64_MIN);
  writer.key("f64", 12).number(0.1);
  writer.key("nested", 9).number(uint32_t{9}).number(uint64_t{2});
  writer.number(uint32_t{0}).number(uint64_t{2}).number(uint8_t{1}).number(uint8_t{2});
  writer.number(uint32_t{8}).number(uint64_t{1}).string("x");
  const auto file = parse(writer);
  EXPECT_EQ(file->version(), 2);
  EXPECT_EQ(file->metadata().dump(),
            "{\"u8\":200,\"i8\":-100,\"u16\":60000,\"i16\":-30000,\"u32\":4000000000,"
            "\"i32\":-2000000000,\"f32\":1.5,\"bool\":true,"
            "\"string\":\"caf\xc3\xa9 \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\","
            "\"u64\":18446744073709551615,\"i64\":-9223372036854775808,\"f64\":0.1,"
            "\"nested\":[[1,2],[\"x\"]]}");
}

TEST(Gguf, ArraysOfAnyLength) {
  std::vector<std::string> words;
  std::vector<float> scores;
  std::vector<int32_t> kinds;
  for (int i = 0; i < 1025; ++i) {
    words.push_back(std::string(static_cast<size_t>(i % 7), 'w') + "\xff");
    scores.push_back(static_cast<float>(-i));
    kinds.push_back(i - 500);
  }
  GgufWriter writer(3, 0, 7);
  writer.array("words", 8, words).array("scores", 6, scores).array("kinds", 5, kinds);
  writer.array("u64", 10, std::vector<uint64_t>{1, uint64_t{1} << 40});
  writer.array("u8", 0, std::vector<uint8_t>(1024, 3));
  writer.array("f64", 12, std::vector<double>{0.5});
  writer.key("plain", 4).number(uint32_t{1});
  const auto file = parse(writer);
  const auto read = file->strings("words");
  EXPECT_EQ(std::vector<std::string>(read.begin(), read.end()), words);
  EXPECT_EQ(file->floats("scores"), scores);
  EXPECT_EQ(file->floats("f64"), std::vector<float>{0.5f});
  EXPECT_EQ(file->ints("kinds"), kinds);
  EXPECT_EQ(file->ints("u8"), std::vector<int32_t>(1024, 3));
  EXPECT_TRUE(file->metadata()["words"].is_null());
  EXPECT_EQ(file->metadata()["u8"].size(), 1024u);
  EXPECT_FALSE(file->has_array("plain"));

  EXPECT_EQ(message_of([&] { file->ints("u64"); }),
            "[g] field 'u64' must hold integers of 32 bits, got 1099511627776");
  EXPECT_EQ(message_of([&] { file->ints("words"); }),
            "[g] field 'words' must be an array of integers, got elements of type 8");
  EXPECT_EQ(message_of([&] { file->strings("kinds"); }),
            "[g] field 'kinds' must be an array of strings, got elements of type 5");
  EXPECT_EQ(message_of([&] { file->floats("kinds"); }),
            "[g] field 'kinds' must be an array of f32 or f64, got elements of type 5");
  EXPECT_EQ(message_of([&] { file->strings("plain"); }),
            "[g] field 'plain' must be an array, got another type");
  EXPECT_EQ(message_of([&] { file->strings("none"); }),
            "[g] field 'none' must be an array, got nothing");
}

TEST(Gguf, EveryTensorTypeIsReadInPlace) {
  const std::pair<uint32_t, DType> types[] = {
      {0, DType::kF32},   {1, DType::kF16},   {2, DType::kQ4_0},  {3, DType::kQ4_1},
      {6, DType::kQ5_0},  {7, DType::kQ5_1},  {8, DType::kQ8_0},  {10, DType::kQ2_K},
      {11, DType::kQ3_K}, {12, DType::kQ4_K}, {13, DType::kQ5_K}, {14, DType::kQ6_K},
      {24, DType::kI8},   {25, DType::kI16},  {26, DType::kI32},  {27, DType::kI64},
      {28, DType::kF64},  {30, DType::kBF16}};
  GgufWriter writer(3, std::size(types), 1);
  writer.key("general.alignment", 4).number(uint32_t{64});
  uint64_t offset = 0;
  for (const auto& [type, dtype] : types) {
    writer.tensor("t" + std::to_string(type), {256, 3}, type, offset);
    offset = (offset + storage_bytes(dtype, {3, 256}) + 63) / 64 * 64;
  }
  writer.data(64, offset);
  const auto file = parse(writer);
  ASSERT_EQ(file->tensors().size(), std::size(types));
  for (const auto& [type, dtype] : types) {
    const TensorView& tensor = file->tensors().at("t" + std::to_string(type));
    EXPECT_EQ(tensor.dtype, dtype);
    EXPECT_EQ(tensor.shape, Shape({3, 256}));
  }
  // Data counts up from its start.
  EXPECT_EQ(*file->tensors().at("t0").as<uint8_t>(), 0);
  EXPECT_EQ(file->tensors().at("t0").as<uint8_t>()[9], 9);
  EXPECT_EQ(file->tensors().at("t2").as<std::byte>() - file->tensors().at("t0").as<std::byte>(),
            3 * 256 * 6);
}

TEST(Gguf, HeadersAreChecked) {
  const auto fault = [](const GgufWriter& writer) { return message_of([&] { parse(writer); }); };
  EXPECT_EQ(fault(GgufWriter(1, 0, 0)),
            "[g] field 'version' must be 2 or 3, got 1; convert the model again with a current "
            "converter");
  EXPECT_EQ(fault(GgufWriter(0x03000000, 0, 0)),
            "[g] field 'version' must be in little-endian order, got a big-endian file; convert it "
            "with gguf-py's gguf_convert_endian");
  EXPECT_EQ(fault(GgufWriter(3, 1, 0)),
            "[g] field 'tensor_count' must be at most the 0 that fit the file, got 1");
  EXPECT_EQ(fault(GgufWriter(3, 0, ~uint64_t{0})),
            "[g] field 'metadata_kv_count' must be at most the 0 that fit the file, got "
            "18446744073709551615");
  const auto raw = [](std::string_view text) {
    return message_of(
        [&] { GgufFile::parse(MappedFile::from_bytes("g", testing::as_bytes(text))); });
  };
  EXPECT_EQ(raw("GGML\3"), "[g] field 'magic' must be 'GGUF', got 'GGML'");
  EXPECT_EQ(raw("GGU"), "[g] field 'magic' must lie within the file: got 4 bytes at offset 0 of 3");
}

TEST(Gguf, ValuesAreChecked) {
  EXPECT_EQ(value_fault([](auto& w) { w.key("k", 13).number(uint64_t{1}); }),
            "[g] field 'k' must have a type from 0 to 12, got 13");
  EXPECT_EQ(value_fault([](auto& w) { w.key("k", 7).number(uint8_t{2}); }),
            "[g] field 'k' must be a bool, 0 or 1, got 2");
  EXPECT_EQ(value_fault([](auto& w) { w.key("k", 8).number(uint64_t{5}).text("abcd"); }),
            "[g] field 'k' must lie within the file: got 5 bytes at offset 45 of 49");
  EXPECT_EQ(value_fault([](auto& w) { w.number(~uint64_t{0}).text("abcdefgh"); }),
            "[g] field 'metadata key 0' must lie within the file: got 18446744073709551615 bytes "
            "at offset 32 of 40");
  EXPECT_EQ(value_fault([](auto& w) { w.key("k\xff", 0).number(uint32_t{0}); }),
            "[g] field 'metadata key 0' must be UTF-8, got 'k\\xff'");
  EXPECT_EQ(value_fault([](auto& w) { w.key("k", 9).number(uint32_t{0}).number(~uint64_t{0}); }),
            "[g] field 'k' must have at most the 0 elements that fit the file, got "
            "18446744073709551615");
  EXPECT_EQ(value_fault([](auto& w) { w.key("k", 9).number(uint32_t{77}).number(uint64_t{0}); }),
            "[g] field 'k' must have elements of a type from 0 to 12, got 77");
  EXPECT_EQ(value_fault([](auto& w) {
              w.key("k", 9);
              for (int i = 0; i < 9; ++i) w.number(uint32_t{9}).number(uint64_t{1});
            }),
            "[g] field 'k' must nest at most 8 arrays, got 9");
  EXPECT_EQ(value_fault([](auto& w) { w.key("general.alignment", 4).number(uint32_t{24}); }),
            "[g] field 'general.alignment' must be a power of two from 8 to 2^30, got 24");
  EXPECT_EQ(value_fault([](auto& w) { w.key("general.alignment", 8).string("x"); }),
            "[g] field 'general.alignment' must be a power of two from 8 to 2^30, got \"x\"");
  GgufWriter twice(3, 0, 2);
  twice.key("k", 0).number(uint8_t{1}).key("k", 0).number(uint8_t{1});
  EXPECT_EQ(message_of([&] { parse(twice); }), "[g] field 'k' must be there once, got it twice");
}

TEST(Gguf, TensorsAreChecked) {
  EXPECT_EQ(tensor_fault(1, [](auto& w) { w.tensor("t", {16}, 0, 0); }), "no error");
  EXPECT_EQ(tensor_fault(1, [](auto& w) { w.tensor("t", {256}, 23, 0); }),
            "[g] tensor 't' field 'type' must be one of f64 f32 f16 bf16 i8 i16 i32 i64 q4_0 q4_1 "
            "q5_0 q5_1 q8_0 q2_k q3_k q4_k q5_k q6_k, got 23 (iq4_xs)");
  EXPECT_EQ(tensor_fault(1, [](auto& w) { w.tensor("t", {1, 1, 1, 1, 1}, 0, 0); }),
            "[g] tensor 't' field 'n_dimensions' must be at most 4, got 5");
  EXPECT_EQ(tensor_fault(1, [](auto& w) { w.tensor("t", {16, 2}, 2, 0); }),
            "[g] tensor 't' field 'dimensions' must be 0 or more, of rows of whole blocks of 32, "
            "and less than 2^63 bytes, got [2, 16]");
  EXPECT_EQ(tensor_fault(1, [](auto& w) { w.tensor("t", {uint64_t{1} << 62, 2}, 0, 0); }),
            "[g] tensor 't' field 'dimensions' must be 0 or more, of rows of whole blocks of 1, "
            "and less than 2^63 bytes, got [2, 4611686018427387904]");
  EXPECT_EQ(tensor_fault(1, [](auto& w) { w.tensor("t", {~uint64_t{0}}, 0, 0); }),
            "[g] tensor 't' field 'dimensions' must be 0 or more, of rows of whole blocks of 1, "
            "and less than 2^63 bytes, got [-1]");
  EXPECT_EQ(tensor_fault(1, [](auto& w) { w.tensor("t", {1}, 0, 4); }),
            "[g] tensor 't' field 'offset' must be a multiple of the alignment 32, got 4");
  EXPECT_EQ(tensor_fault(1, [](auto& w) { w.tensor("t", {9}, 0, 32); }),
            "[g] tensor 't' field 'offset' must leave 36 bytes within the 64 bytes of data, got "
            "32");
  EXPECT_EQ(tensor_fault(1, [](auto& w) { w.tensor("t", {1}, 0, uint64_t{1} << 63); }),
            "[g] tensor 't' field 'offset' must leave 4 bytes within the 64 bytes of data, got "
            "9223372036854775808");
  EXPECT_EQ(
      tensor_fault(2, [](auto& w) { w.tensor("a", {16}, 0, 0).tensor("b", {1}, 0, 32); }),
      "[g] tensor 'b' field 'offset' must be at least 64, where the tensor before it ends, got 32");
  EXPECT_EQ(tensor_fault(2, [](auto& w) { w.tensor("a", {8}, 0, 0).tensor("a", {8}, 0, 32); }),
            "[g] tensor 'a' must be there once, got it twice");
  EXPECT_EQ(tensor_fault(1, [](auto& w) { w.tensor("\xc0", {8}, 0, 0); }),
            "[g] field 'tensor name 0' must be UTF-8, got '\\xc0'");
}

}  // namespace
}  // namespace brayton
