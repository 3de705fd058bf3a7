#include "checkpoint/gguf_metadata.h"

#include "checkpoint/gguf_types.h"
#include "checkpoint/printable.h"

namespace brayton {
namespace {

constexpr int kMaxNesting = 8;  // arrays of arrays

[[noreturn]] void wrong(const ByteReader& reader, const std::string& field,
                        std::string_view expected, uint64_t got) {
  throw_error(ErrorCode::kInvalidModel, "[{}] {} must {}, got {}", reader.path(), field, expected,
              got);
}

Json read_scalar(ByteReader& reader, uint32_t type, const std::string& field) {
  switch (static_cast<GgufType>(type)) {
    case GgufType::kU8:
      return reader.read<uint8_t>(field);
    case GgufType::kI8:
      return reader.read<int8_t>(field);
    case GgufType::kU16:
      return reader.read<uint16_t>(field);
    case GgufType::kI16:
      return reader.read<int16_t>(field);
    case GgufType::kU32:
      return reader.read<uint32_t>(field);
    case GgufType::kI32:
      return reader.read<int32_t>(field);
    case GgufType::kF32:
      return reader.read<float>(field);
    case GgufType::kU64:
      return reader.read<uint64_t>(field);
    case GgufType::kI64:
      return reader.read<int64_t>(field);
    case GgufType::kF64:
      return reader.read<double>(field);
    case GgufType::kString:
      return to_utf8(reader.read_string(field));
    case GgufType::kBool: {
      const auto value = reader.read<uint8_t>(field);
      if (value > 1) wrong(reader, field, "be a bool, 0 or 1", value);
      return value == 1;
    }
    default:
      wrong(reader, field, "have a type from 0 to 12", type);
  }
}

Json read_array(ByteReader& reader, const std::string& field, int nesting, GgufArray& array) {
  if (nesting > kMaxNesting) wrong(reader, field, "nest at most 8 arrays", nesting);
  array.type = reader.read<uint32_t>(field);
  array.count = reader.read<uint64_t>(field);
  const bool nested = array.type == static_cast<uint32_t>(GgufType::kArray);
  const size_t fixed = gguf_value_bytes(array.type);
  if (fixed == 0 && !nested && array.type != static_cast<uint32_t>(GgufType::kString))
    wrong(reader, field, "have elements of a type from 0 to 12", array.type);
  // An inner array takes at least its type and count, a string its length.
  const size_t least = fixed > 0 ? fixed : nested ? 12 : 8;
  if (array.count > reader.remaining() / least)
    wrong(reader, field,
          format("have at most the {} elements that fit the file", reader.remaining() / least),
          array.count);

  array.data = reader.here();
  const bool shown = array.count <= kMaxJsonArray;
  Json values = shown ? Json::array() : Json();
  if (fixed > 0 && !shown) {
    reader.skip(array.count * fixed, field);
  } else {
    for (uint64_t i = 0; i < array.count; ++i) {
      GgufArray inner{};
      if (!shown && !nested)
        reader.read_string(field);
      else if (Json value = nested ? read_array(reader, field, nesting + 1, inner)
                                   : read_scalar(reader, array.type, field);
               shown)
        values.push_back(std::move(value));
    }
  }
  array.bytes = static_cast<size_t>(reader.here() - array.data);
  return values;
}

}  // namespace

Json read_gguf_value(ByteReader& reader, uint32_t type, const std::string& field,
                     GgufArray& array) {
  if (type == static_cast<uint32_t>(GgufType::kArray)) return read_array(reader, field, 1, array);
  return read_scalar(reader, type, field);
}

}  // namespace brayton
