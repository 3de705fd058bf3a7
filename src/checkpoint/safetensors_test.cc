// Every dtype of safetensors is read in place; a header that lies is refused by name of the field.
#include "checkpoint/safetensors.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "brayton/error.h"
#include "core/format.h"
#include "testing/sample_files.h"

namespace brayton {
namespace {

std::shared_ptr<const MappedFile> file_of(std::string_view header, size_t data_bytes) {
  return MappedFile::from_bytes("f", testing::safetensors_file(header, data_bytes));
}

std::string fault_of(const MappedFile& file) {
  try {
    read_safetensors(file);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

std::string fault_of(std::string_view header, size_t data_bytes) {
  return fault_of(*file_of(header, data_bytes));
}

std::string index_fault(const std::string& text) {
  try {
    read_safetensors_index(text, "i");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Safetensors, EveryDtypeIsReadInPlace) {
  const std::pair<std::string, DType> types[] = {
      {"F64", DType::kF64},   {"I64", DType::kI64},        {"U64", DType::kU64},
      {"F32", DType::kF32},   {"I32", DType::kI32},        {"U32", DType::kU32},
      {"F16", DType::kF16},   {"BF16", DType::kBF16},      {"I16", DType::kI16},
      {"U16", DType::kU16},   {"I8", DType::kI8},          {"U8", DType::kU8},
      {"BOOL", DType::kBool}, {"F8_E4M3", DType::kF8E4M3}, {"F8_E5M2", DType::kF8E5M2}};
  std::string header = R"({"__metadata__":{"format":"pt"})";
  int64_t end = 0;
  for (const auto& [name, dtype] : types) {
    const int64_t begin = end;
    end += 6 * dtype_info(dtype).block_bytes;
    header += format(R"(,"t.{}":{{"dtype":"{}","shape":[2,3],"data_offsets":[{},{}]}})", name, name,
                     begin, end);
  }
  const auto file = file_of(header + "}   ", static_cast<size_t>(end));
  const auto tensors = read_safetensors(*file);
  ASSERT_EQ(tensors.size(), std::size(types));
  const std::byte* at = file->bytes().data() + file->size() - end;
  for (const auto& [name, dtype] : types) {
    const TensorView& tensor = tensors.at("t." + name);
    EXPECT_EQ(tensor.dtype, dtype) << name;
    EXPECT_EQ(tensor.shape, Shape({2, 3})) << name;
    EXPECT_EQ(tensor.data, at) << name;
    at += tensor.bytes();
  }
}

TEST(Safetensors, ScalarsAndEmptyTensorsAndUnknownFieldsAreFine) {
  const auto file = file_of(
      R"({"b":{"data_offsets":[4,4],"dtype":"F32","shape":[0,7],"note":{"x":[[1]],"shape":[1]}},)"
      R"("a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})",
      4);
  const auto tensors = read_safetensors(*file);
  EXPECT_EQ(tensors.at("a").elements(), 1);
  EXPECT_EQ(tensors.at("b").bytes(), 0);
  EXPECT_TRUE(read_safetensors(*file_of("{}", 0)).empty());
}

TEST(Safetensors, HeaderLengthMustFitTheFile) {
  testing::Bytes bytes = testing::safetensors_file("{}", 0);
  bytes[0] = std::byte{3};
  EXPECT_EQ(fault_of(*MappedFile::from_bytes("f", bytes)),
            "[f] field 'header length' must be at most 2 in a file of 10 bytes, got 3");
  EXPECT_EQ(fault_of(*MappedFile::from_bytes("f", std::span(bytes).first(7))),
            "[f] field 'header length' must have 8 bytes, got a file of 7");
  EXPECT_EQ(fault_of(" {}", 0), "[f] field 'header' must begin with '{', got ' {}'");
  EXPECT_EQ(fault_of("", 0), "[f] field 'header' must begin with '{', got ''");
}

TEST(Safetensors, HeaderMustBeJsonOfTheRightShape) {
  const std::string offsets = R"("data_offsets":[0,4])";
  const std::string dtype = R"("dtype":"F32")";
  const std::pair<std::string, std::string> cases[] = {
      {R"({"a":)", "[f] field 'header' must be JSON, got a fault at byte 6 after '\"a\":'"},
      {R"({"a":1})", "[f] tensor 'a' must be an object, got 1"},
      {R"({"a":[]})", "[f] tensor 'a' must be an object, got a list"},
      {R"({"__metadata__":{"a":1}})",
       "[f] field '__metadata__' must be an object of strings, got 1"},
      {R"({"__metadata__":{"a":["b"]}})",
       "[f] field '__metadata__' must be an object of strings, got a list"},
      {R"({"a":{)" + dtype + "," + offsets + "}}", "[f] tensor 'a' field 'shape' is missing"},
      {R"({"a":{"shape":[1],)" + offsets + "}}", "[f] tensor 'a' field 'dtype' is missing"},
      {R"({"a":{"shape":[1],)" + dtype + "}}", "[f] tensor 'a' field 'data_offsets' is missing"},
      {R"({"a":{"dtype":7}})", "[f] tensor 'a' field 'dtype' must be a string, got 7"},
      {R"({"a":{"dtype":["F32"]}})", "[f] tensor 'a' field 'dtype' must be a string, got a list"},
      {R"({"a":{"shape":[-1]}})",
       "[f] tensor 'a' field 'shape' must be a list of integers that are 0 or more, got -1"},
      {R"({"a":{"shape":[1.5]}})",
       "[f] tensor 'a' field 'shape' must be a list of integers that are 0 or more, got 1.5"},
      {R"({"a":{"shape":[[1]]}})",
       "[f] tensor 'a' field 'shape' must be a list of integers that are 0 or more, got a list"},
      {R"({"a":{"shape":[1],"shape":[1]}})",
       "[f] tensor 'a' field 'shape' must be there once, got it twice"},
      {R"({"a":{"shape":[1],"data_offsets":[0],)" + dtype + "}}",
       "[f] tensor 'a' field 'data_offsets' must be a list of two integers, got a list of 1"},
      {R"({"a":{"shape":[1],)" + offsets + R"(,"dtype":"F4"}})",
       "[f] tensor 'a' field 'dtype' must be one of F64 F32 F16 BF16 F8_E4M3 F8_E5M2 I64 I32 I16 "
       "I8 U64 U32 U16 U8 BOOL, got 'F4'"},
      {R"({"a":{"shape":[1,1,1,1,1,1,1],)" + offsets + "," + dtype + "}}",
       "[f] tensor 'a' field 'shape' must have at most 6 dimensions, got 7"},
  };
  for (const auto& [header, message] : cases) EXPECT_EQ(fault_of(header, 4), message) << header;
  const std::string deep = R"({"a":{"x":)" + std::string(70, '[') + std::string(70, ']') + "}}";
  EXPECT_EQ(fault_of(deep, 0), "[f] field 'header' must nest at most 64 levels");
}

std::string entry(const std::string& name, const std::string& shape, uint64_t begin, uint64_t end) {
  return format(R"("{}":{{"dtype":"F32","shape":{},"data_offsets":[{},{}]}})", name, shape, begin,
                end);
}

TEST(Safetensors, DataMustBeTheTensorsOneAfterTheOther) {
  const std::string a = entry("a", "[2]", 0, 8);
  const auto pair = [&](const std::string& other) { return "{" + a + "," + other + "}"; };
  EXPECT_EQ(fault_of(pair(entry("b", "[1]", 8, 12)), 12), "no error");
  EXPECT_EQ(fault_of(pair(entry("b", "[1]", 4, 8)), 8),
            "[f] tensor 'b' field 'data_offsets' must begin at 8, where the tensor before it ends, "
            "got 4");
  EXPECT_EQ(fault_of(pair(entry("b", "[1]", 12, 16)), 16),
            "[f] tensor 'b' field 'data_offsets' must begin at 8, where the tensor before it ends, "
            "got 12");
  EXPECT_EQ(fault_of(pair(entry("b", "[1]", 8, 12)), 11),
            "[f] tensor 'b' field 'data_offsets' must end in [8, 11], got 12");
  EXPECT_EQ(fault_of(pair(entry("b", "[1]", 8, 4)), 12),
            "[f] tensor 'b' field 'data_offsets' must end in [8, 12], got 4");
  EXPECT_EQ(fault_of("{" + a + "}", 9),
            "[f] field 'data_offsets' must cover all 9 bytes after the header, got 8");
  EXPECT_EQ(fault_of("{" + entry("a", "[3]", 0, 8) + "}", 8),
            "[f] tensor 'a' field 'data_offsets' must hold 12 bytes for [3] of f32, got 8");
  // The same tensor twice needs two extents to get past the check of overlaps.
  EXPECT_EQ(fault_of(pair(entry("a", "[1]", 8, 12)), 12),
            "[f] tensor 'a' must be there once, got it twice");
}

TEST(Safetensors, SizesNeverWrap) {
  for (const std::string shape :
       {"[4294967296,4294967296,4294967296]", "[9223372036854775807]",
        "[0,9223372036854775807,9223372036854775807]", "[4611686018427387904,4]"})
    EXPECT_NE(fault_of("{" + entry("a", shape, 0, 0) + "}", 0)
                  .find("[f] tensor 'a' field 'shape' must have less than 2^63 bytes, got ["),
              std::string::npos)
        << shape;
  EXPECT_EQ(fault_of("{" + entry("a", "[9223372036854775808]", 0, 0) + "}", 0),
            "[f] tensor 'a' field 'shape' must be dimensions below 2^63, got 9223372036854775808");
  EXPECT_EQ(fault_of("{" + entry("a", "[1]", 0, ~uint64_t{0}) + "}", 4),
            "[f] tensor 'a' field 'data_offsets' must end in [0, 4], got 18446744073709551615");
}

TEST(SafetensorsIndex, NamesStayInTheFolder) {
  const auto files = read_safetensors_index(
      R"({"metadata":{"total_size":1,"weight_map":{"z":1}},"weight_map":{"a":"x","b":"y"}})", "i");
  EXPECT_EQ(files, (std::map<std::string, std::string>{{"a", "x"}, {"b", "y"}}));
  for (const std::string name : {"../x", "/x", "d/x", "..", ".", "", "d\\\\x", "x\\u0000y"})
    EXPECT_NE(
        index_fault(R"({"weight_map":{"a":")" + name + R"("}})")
            .find("[i] field 'weight_map': 'a' must be the name of a file in the same folder"),
        std::string::npos)
        << name;
}

TEST(SafetensorsIndex, FaultsAreNamed) {
  const std::pair<std::string, std::string> cases[] = {
      {"[]", "[i] the index must be a JSON object, got 'a list'"},
      {"1", "[i] the index must be a JSON object, got '1'"},
      {"{}", "[i] field 'weight_map' must name at least one tensor, got none"},
      {R"({"weight_map":7})", "[i] field 'weight_map' must be one object, got '7'"},
      {R"({"weight_map":[]})", "[i] field 'weight_map' must be one object, got 'a list'"},
      {R"({"weight_map":{},"weight_map":{}})",
       "[i] field 'weight_map' must be one object, got 'a second'"},
      {R"({"weight_map":{"a":{}}})",
       "[i] field 'weight_map': 'a' must be a file name, got 'a list or object'"},
      {R"({"weight_map":{"a":"x","a":"y"}})",
       "[i] field 'weight_map': 'a' must be there once, got it twice"},
      {R"({"weight_map":{"a":"x"})",
       "[i] the index must be JSON, got a fault at byte 24 after '\"x\"}'"},
  };
  for (const auto& [text, message] : cases) EXPECT_EQ(index_fault(text), message) << text;
}

// 10^5 names are read in a moment: nothing looks through all the names before.
TEST(SafetensorsIndex, ManyNames) {
  std::string text = R"({"weight_map":{)";
  for (int i = 0; i < 100'000; ++i) text += format(R"({}"layer.{}":"x")", i ? "," : "", i);
  EXPECT_EQ(read_safetensors_index(text + "}}", "i").size(), 100'000u);
}

}  // namespace
}  // namespace brayton
