#include "checkpoint/gguf.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "checkpoint/gguf_types.h"
#include "checkpoint/printable.h"
#include "checkpoint/tensor_extent.h"

namespace brayton {

// Reads a file from front to back into a GgufFile.
class GgufParser {
 public:
  GgufParser(GgufFile& result, const MappedFile& file)
      : result_(result), reader_(file.bytes(), file.path()), all_(file.bytes()) {}

  void parse() {
    read_version();
    const auto tensors = reader_.read<uint64_t>("field 'tensor_count'");
    const auto values = reader_.read<uint64_t>("field 'metadata_kv_count'");
    // A tensor takes at least 24 bytes of its table, a value of the metadata 13.
    check_count("tensor_count", tensors, 24);
    check_count("metadata_kv_count", values, 13);
    read_metadata(values);
    for (uint64_t i = 0; i < tensors; ++i) read_tensor(i);
    place_tensors();
  }

 private:
  struct Tensor {
    std::string name;
    DType dtype;
    Shape shape;
    uint64_t offset;
    uint64_t bytes;
  };

  template <class Got>
  [[noreturn]] void wrong(const std::string& field, std::string_view expected,
                          const Got& got) const {
    throw_error(ErrorCode::kInvalidModel, "[{}] {} must {}, got {}", reader_.path(), field,
                expected, got);
  }

  void read_version() {
    const auto magic = reader_.read<std::array<char, 4>>("field 'magic'");
    const std::string_view text(magic.data(), magic.size());
    if (text != "GGUF") wrong("field 'magic'", "be 'GGUF'", "'" + printable(text) + "'");
    const auto version = reader_.read<uint32_t>("field 'version'");
    if (version != 0 && (version & 0xffff) == 0)
      throw_error(ErrorCode::kUnsupported,
                  "[{}] field 'version' must be in little-endian order, got a big-endian file; "
                  "convert it with gguf-py's gguf_convert_endian",
                  reader_.path());
    if (version != 2 && version != 3)
      throw_error(ErrorCode::kUnsupported,
                  "[{}] field 'version' must be 2 or 3, got {}; convert the model again with a "
                  "current converter",
                  reader_.path(), version);
    result_.version_ = static_cast<int>(version);
  }

  void check_count(const std::string& field, uint64_t count, uint64_t least) const {
    if (count > reader_.remaining() / least)
      wrong("field '" + field + "'",
            format("be at most the {} that fit the file", reader_.remaining() / least), count);
  }

  // Names are keys of maps and JSON, and go to terminals.
  std::string read_name(const std::string& field) {
    const std::string_view name = reader_.read_string(field);
    if (!is_utf8(name)) wrong(field, "be UTF-8", "'" + printable(name) + "'");
    return std::string(name);
  }

  void read_metadata(uint64_t count) {
    result_.metadata_ = Json::object();
    auto& values = result_.metadata_.get_ref<Json::object_t&>();
    std::map<std::string, size_t> seen;
    for (uint64_t i = 0; i < count; ++i) {
      std::string key = read_name(format("field 'metadata key {}'", i));
      const std::string field = "field '" + printable(key) + "'";
      if (!seen.emplace(key, i).second) wrong(field, "be there once", "it twice");
      const auto type = reader_.read<uint32_t>(field);
      GgufArray array{};
      Json value = read_gguf_value(reader_, type, field, array);
      if (type == static_cast<uint32_t>(GgufType::kArray)) result_.arrays_.emplace(key, array);
      // Not operator[]: it would look through all keys before.
      values.emplace_back(std::move(key), std::move(value));
      if (values.back().first == "general.alignment") read_alignment(values.back().second);
    }
  }

  void read_alignment(const Json& value) {
    const bool fits = value.is_number_unsigned() && value.get<uint64_t>() >= 8 &&
                      value.get<uint64_t>() <= (1u << 30) &&
                      std::has_single_bit(value.get<uint64_t>());
    if (!fits)
      wrong("field 'general.alignment'", "be a power of two from 8 to 2^30",
            printable(value.dump()));
    alignment_ = value.get<uint64_t>();
  }

  void read_tensor(uint64_t index) {
    Tensor tensor;
    tensor.name = read_name(format("field 'tensor name {}'", index));
    const std::string where = "tensor '" + printable(tensor.name) + "'";
    const auto rank = reader_.read<uint32_t>(where + " field 'n_dimensions'");
    if (rank > 4) wrong(where + " field 'n_dimensions'", "be at most 4", rank);
    std::array<int64_t, 4> dims{};
    for (uint32_t i = 0; i < rank; ++i)  // ne[0] is the innermost
      dims[rank - 1 - i] = reader_.read<int64_t>(where + " field 'dimensions'");
    tensor.shape = Shape(dims.begin(), dims.begin() + rank);
    const auto type = reader_.read<uint32_t>(where + " field 'type'");
    const std::optional<DType> dtype = gguf_tensor_dtype(type);
    if (!dtype)
      throw_error(ErrorCode::kUnsupported,
                  "[{}] {} field 'type' must be one of f64 f32 f16 bf16 i8 i16 i32 i64 q4_0 q4_1 "
                  "q5_0 q5_1 q8_0 q2_k q3_k q4_k q5_k q6_k, got {} ({})",
                  reader_.path(), where, type, gguf_tensor_type_name(type));
    tensor.dtype = *dtype;
    tensor.offset = reader_.read<uint64_t>(where + " field 'offset'");
    const std::optional<int64_t> bytes = checked_tensor_bytes(*dtype, tensor.shape);
    if (!bytes)
      wrong(where + " field 'dimensions'",
            format("be 0 or more, of rows of whole blocks of {}, and less than 2^63 bytes",
                   dtype_info(*dtype).block_elements),
            tensor.shape.str());
    tensor.bytes = static_cast<uint64_t>(*bytes);
    tensors_.push_back(std::move(tensor));
  }

  void place_tensors() {
    const auto start = checked_add<uint64_t>(reader_.offset(), alignment_ - 1);
    const uint64_t data = *start / alignment_ * alignment_;
    const uint64_t size = all_.size() > data ? all_.size() - data : 0;
    std::sort(tensors_.begin(), tensors_.end(), [](const Tensor& a, const Tensor& b) {
      return std::pair(a.offset, a.bytes) < std::pair(b.offset, b.bytes);
    });
    uint64_t end = 0;
    for (const Tensor& tensor : tensors_) {
      const std::string field = "tensor '" + printable(tensor.name) + "' field 'offset'";
      if (tensor.offset % alignment_ != 0)
        wrong(field, format("be a multiple of the alignment {}", alignment_), tensor.offset);
      if (tensor.offset < end)
        wrong(field, format("be at least {}, where the tensor before it ends", end), tensor.offset);
      if (tensor.offset > size || tensor.bytes > size - tensor.offset)
        wrong(field, format("leave {} bytes within the {} bytes of data", tensor.bytes, size),
              tensor.offset);
      end = tensor.offset + tensor.bytes;
      // An empty tensor may stand where padding was cut off.
      const std::byte* begin = all_.data() + std::min<uint64_t>(data + tensor.offset, all_.size());
      if (!result_.tensors_.emplace(tensor.name, TensorView(begin, tensor.dtype, tensor.shape))
               .second)
        wrong("tensor '" + printable(tensor.name) + "'", "be there once", "it twice");
    }
  }

  GgufFile& result_;
  ByteReader reader_;
  std::span<const std::byte> all_;
  uint64_t alignment_ = 32;
  std::vector<Tensor> tensors_;
};

std::shared_ptr<const GgufFile> GgufFile::parse(std::shared_ptr<const MappedFile> file) {
  auto result = std::make_shared<GgufFile>();
  GgufParser(*result, *file).parse();
  result->file_ = std::move(file);
  return result;
}

const GgufArray& GgufFile::array(const std::string& key) const {
  const auto it = arrays_.find(key);
  if (it == arrays_.end())
    throw_error(ErrorCode::kInvalidModel, "[{}] field '{}' must be an array, got {}", file_->path(),
                key, metadata_.contains(key) ? "another type" : "nothing");
  return it->second;
}

std::vector<std::string_view> GgufFile::strings(const std::string& key) const {
  const GgufArray& array = this->array(key);
  if (array.type != static_cast<uint32_t>(GgufType::kString))
    throw_error(ErrorCode::kInvalidModel,
                "[{}] field '{}' must be an array of strings, got elements of type {}",
                file_->path(), key, array.type);
  ByteReader reader({array.data, array.bytes}, file_->path());
  std::vector<std::string_view> result(array.count);
  for (std::string_view& element : result) element = reader.read_string(key);
  return result;
}

std::vector<float> GgufFile::floats(const std::string& key) const {
  const GgufArray& array = this->array(key);
  const bool single = array.type == static_cast<uint32_t>(GgufType::kF32);
  if (!single && array.type != static_cast<uint32_t>(GgufType::kF64))
    throw_error(ErrorCode::kInvalidModel,
                "[{}] field '{}' must be an array of f32 or f64, got elements of type {}",
                file_->path(), key, array.type);
  ByteReader reader({array.data, array.bytes}, file_->path());
  std::vector<float> result(array.count);
  for (float& element : result)
    element = single ? reader.read<float>(key) : static_cast<float>(reader.read<double>(key));
  return result;
}

std::vector<int32_t> GgufFile::ints(const std::string& key) const {
  const GgufArray& array = this->array(key);
  ByteReader reader({array.data, array.bytes}, file_->path());
  std::vector<int32_t> result;
  const auto append = [&]<class T>(T) {
    result.reserve(array.count);
    for (uint64_t i = 0; i < array.count; ++i) {
      const T value = reader.read<T>(key);
      if (!std::in_range<int32_t>(value))
        throw_error(ErrorCode::kInvalidModel,
                    "[{}] field '{}' must hold integers of 32 bits, got {}", file_->path(), key,
                    value);
      result.push_back(static_cast<int32_t>(value));
    }
  };
  switch (static_cast<GgufType>(array.type)) {
    case GgufType::kU8:
      append(uint8_t{});
      break;
    case GgufType::kI8:
      append(int8_t{});
      break;
    case GgufType::kU16:
      append(uint16_t{});
      break;
    case GgufType::kI16:
      append(int16_t{});
      break;
    case GgufType::kU32:
      append(uint32_t{});
      break;
    case GgufType::kI32:
      append(int32_t{});
      break;
    case GgufType::kU64:
      append(uint64_t{});
      break;
    case GgufType::kI64:
      append(int64_t{});
      break;
    default:
      throw_error(ErrorCode::kInvalidModel,
                  "[{}] field '{}' must be an array of integers, got elements of type {}",
                  file_->path(), key, array.type);
  }
  return result;
}

}  // namespace brayton
