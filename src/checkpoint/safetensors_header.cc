#include "checkpoint/safetensors_header.h"

#include <limits>
#include <optional>
#include <utility>

#include "checkpoint/json_events.h"
#include "checkpoint/printable.h"
#include "core/format.h"

namespace brayton {
namespace {

constexpr std::pair<std::string_view, DType> kTypes[] = {
    {"F64", DType::kF64},   {"F32", DType::kF32},        {"F16", DType::kF16},
    {"BF16", DType::kBF16}, {"I64", DType::kI64},        {"I32", DType::kI32},
    {"I16", DType::kI16},   {"I8", DType::kI8},          {"U64", DType::kU64},
    {"U32", DType::kU32},   {"U16", DType::kU16},        {"U8", DType::kU8},
    {"BOOL", DType::kBool}, {"F8_E4M3", DType::kF8E4M3}, {"F8_E5M2", DType::kF8E5M2},
};

class HeaderReader final : public JsonEvents {
 public:
  explicit HeaderReader(const std::string& path) : path_(path) {}
  std::vector<SafetensorsEntry> take() { return std::move(entries_); }

  // Level 1 is the header, level 2 a tensor or __metadata__, level 3 a list of a tensor's field.
  void open(char bracket) override {
    ++level_;
    const std::string_view got = bracket == '{' ? "an object" : "a list";
    if (level_ == 1 && bracket != '{') wrong("field 'header'", "a JSON object", got);
    if (level_ == 2 && bracket != '{') wrong(subject(), "an object", got);
    if (level_ == 2) start_tensor();
    if (level_ <= 2) return;
    if (in_metadata_) wrong(subject(), "an object of strings", got);
    if (list_ || (level_ == 3 && field_ == "dtype")) wrong(field(), expected(), got);
    if (level_ == 3 && (list_ = list_of_field())) {
      if (bracket != '[') wrong(field(), expected(), got);
      refuse_second(list_->has_value());
      list_->emplace();
    }
  }

  void close() override {
    if (level_ == 3) list_ = nullptr;
    if (level_ == 2 && !in_metadata_) finish_tensor();
    --level_;
  }

  void key(std::string name) override {
    if (level_ == 1) name_ = std::move(name);
    if (level_ == 2) field_ = std::move(name);
  }

  void value(JsonScalar scalar) override {
    if (level_ == 0) wrong("field 'header'", "a JSON object", scalar.text);
    if (level_ == 1) wrong(subject(), "an object", scalar.text);
    if (in_metadata_) {
      if (scalar.kind != JsonScalar::Kind::kString)
        wrong(subject(), "an object of strings", scalar.text);
    } else if (list_) {
      if (scalar.kind != JsonScalar::Kind::kUnsigned) wrong(field(), expected(), scalar.text);
      (*list_)->push_back(scalar.number);
    } else if (level_ == 2 && (field_ == "dtype" || list_of_field())) {
      if (field_ != "dtype" || scalar.kind != JsonScalar::Kind::kString)
        wrong(field(), expected(), scalar.text);
      refuse_second(dtype_.has_value());
      dtype_ = std::move(scalar.text);
    }
  }

 private:
  using List = std::optional<std::vector<uint64_t>>;

  List* list_of_field() {
    if (field_ == "shape") return &shape_;
    return field_ == "data_offsets" ? &offsets_ : nullptr;
  }
  std::string_view expected() const {
    if (field_ == "dtype") return "a string";
    return field_ == "shape" ? "a list of integers that are 0 or more" : "a list of two integers";
  }
  std::string subject() const {
    return format("{} '{}'", name_ == "__metadata__" ? "field" : "tensor", printable(name_));
  }
  std::string field() const { return format("{} field '{}'", subject(), field_); }

  [[noreturn]] void wrong(std::string_view what, std::string_view expected,
                          std::string_view got) const {
    throw_error(ErrorCode::kInvalidModel, "[{}] {} must be {}, got {}", path_, what, expected,
                printable(got));
  }

  void refuse_second(bool seen) const {
    if (seen)
      throw_error(ErrorCode::kInvalidModel, "[{}] {} must be there once, got it twice", path_,
                  field());
  }

  void start_tensor() {
    in_metadata_ = name_ == "__metadata__";
    field_.clear();
    dtype_.reset();
    shape_.reset();
    offsets_.reset();
  }

  void finish_tensor() {
    for (const auto& [name, there] : {std::pair{"dtype", dtype_.has_value()},
                                      {"shape", shape_.has_value()},
                                      {"data_offsets", offsets_.has_value()}})
      if (!there)
        throw_error(ErrorCode::kInvalidModel, "[{}] {} field '{}' is missing", path_, subject(),
                    name);
    field_ = "data_offsets";
    if (offsets_->size() != 2) wrong(field(), expected(), format("a list of {}", offsets_->size()));
    entries_.push_back({name_, dtype(), shape(), (*offsets_)[0], (*offsets_)[1]});
  }

  DType dtype() {
    for (const auto& [name, dtype] : kTypes)
      if (name == *dtype_) return dtype;
    field_ = "dtype";
    throw_error(ErrorCode::kUnsupported,
                "[{}] {} must be one of F64 F32 F16 BF16 F8_E4M3 F8_E5M2 I64 I32 I16 I8 U64 U32 "
                "U16 U8 BOOL, got '{}'",
                path_, field(), printable(*dtype_));
  }

  Shape shape() {
    field_ = "shape";
    if (shape_->size() > Shape::kMaxRank)
      throw_error(ErrorCode::kUnsupported, "[{}] {} must have at most {} dimensions, got {}", path_,
                  field(), static_cast<int>(Shape::kMaxRank), shape_->size());
    Shape result;
    for (const uint64_t dim : *shape_) {
      if (dim > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
        wrong(field(), "dimensions below 2^63", std::to_string(dim));
      result.push_back(static_cast<int64_t>(dim));
    }
    return result;
  }

  const std::string& path_;
  int level_ = 0;
  bool in_metadata_ = false;
  std::string name_;
  std::string field_;
  std::optional<std::string> dtype_;
  List shape_;
  List offsets_;
  List* list_ = nullptr;  // the one whose elements are being read
  std::vector<SafetensorsEntry> entries_;
};

}  // namespace

std::vector<SafetensorsEntry> read_safetensors_header(std::string_view header,
                                                      const std::string& path) {
  HeaderReader reader(path);
  read_json_events(header, path, "field 'header'", reader);
  return reader.take();
}

}  // namespace brayton
