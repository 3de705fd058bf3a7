#include "checkpoint/safetensors.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "checkpoint/json_events.h"
#include "checkpoint/printable.h"
#include "checkpoint/safetensors_header.h"
#include "checkpoint/tensor_extent.h"
#include "core/format.h"

namespace brayton {
namespace {

constexpr uint64_t kMaxHeader = 100'000'000;  // the format's own limit

// The header's text; data begins after it.
std::string_view header_of(const MappedFile& file) {
  const std::string& path = file.path();
  uint64_t length = 0;
  if (file.size() < sizeof(length))
    throw_error(ErrorCode::kInvalidModel,
                "[{}] field 'header length' must have 8 bytes, got a file of {}", path,
                file.size());
  std::memcpy(&length, file.bytes().data(), sizeof(length));
  const uint64_t limit = std::min<uint64_t>(kMaxHeader, file.size() - sizeof(length));
  if (length > limit)
    throw_error(ErrorCode::kInvalidModel,
                "[{}] field 'header length' must be at most {} in a file of {} bytes, got {}", path,
                limit, file.size(), length);
  const std::string_view header(reinterpret_cast<const char*>(file.bytes().data() + sizeof(length)),
                                length);
  if (!header.starts_with('{'))
    throw_error(ErrorCode::kInvalidModel, "[{}] field 'header' must begin with '{{', got '{}'",
                path, printable(header.substr(0, 8)));
  return header;
}

// The data must be exactly the tensors, one after the other.
void check_extents(const std::vector<SafetensorsEntry>& entries, uint64_t size,
                   const std::string& path) {
  std::vector<const SafetensorsEntry*> order;
  for (const SafetensorsEntry& entry : entries) order.push_back(&entry);
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return std::pair(a->begin, a->end) < std::pair(b->begin, b->end);
  });
  uint64_t at = 0;
  for (const SafetensorsEntry* entry : order) {
    const std::string where = format("tensor '{}' field 'data_offsets'", printable(entry->name));
    if (entry->begin != at)
      throw_error(ErrorCode::kInvalidModel,
                  "[{}] {} must begin at {}, where the tensor before it ends, got {}", path, where,
                  at, entry->begin);
    if (entry->end < entry->begin || entry->end > size)
      throw_error(ErrorCode::kInvalidModel, "[{}] {} must end in [{}, {}], got {}", path, where,
                  entry->begin, size, entry->end);
    const std::optional<int64_t> bytes = checked_tensor_bytes(entry->dtype, entry->shape);
    if (!bytes)
      throw_error(ErrorCode::kInvalidModel,
                  "[{}] tensor '{}' field 'shape' must have less than 2^63 bytes, got {}", path,
                  printable(entry->name), entry->shape.str());
    if (static_cast<uint64_t>(*bytes) != entry->end - entry->begin)
      throw_error(ErrorCode::kInvalidModel, "[{}] {} must hold {} bytes for {} of {}, got {}", path,
                  where, *bytes, entry->shape.str(), dtype_name(entry->dtype),
                  entry->end - entry->begin);
    at = entry->end;
  }
  if (at != size)
    throw_error(ErrorCode::kInvalidModel,
                "[{}] field 'data_offsets' must cover all {} bytes after the header, got {}", path,
                size, at);
}

class IndexReader final : public JsonEvents {
 public:
  explicit IndexReader(const std::string& where) : where_(where) {}

  std::map<std::string, std::string> take() {
    if (files_.empty())
      throw_error(ErrorCode::kInvalidModel,
                  "[{}] field 'weight_map' must name at least one tensor, got none", where_);
    return std::move(files_);
  }

  void open(char bracket) override {
    ++level_;
    if (level_ == 1 && bracket != '{') wrong("the index", "a JSON object", "a list");
    if (level_ == 2 && in_map() && (bracket != '{' || std::exchange(seen_, true)))
      wrong("field 'weight_map'", "one object", bracket == '{' ? "a second" : "a list");
    if (level_ > 2 && in_map()) wrong(subject(), "a file name", "a list or object");
  }
  void close() override { --level_; }
  void key(std::string name) override {
    if (level_ == 1) field_ = std::move(name);
    if (level_ == 2) tensor_ = std::move(name);
  }
  void value(JsonScalar scalar) override {
    if (level_ == 0) wrong("the index", "a JSON object", scalar.text);
    if (!in_map()) return;
    if (level_ == 1) wrong("field 'weight_map'", "one object", scalar.text);
    const std::string& file = scalar.text;
    if (scalar.kind != JsonScalar::Kind::kString || file.empty() || file == "." || file == ".." ||
        file.find_first_of(std::string_view("/\\\0", 3)) != std::string::npos)
      wrong(subject(), "the name of a file in the same folder", file);
    if (!files_.emplace(tensor_, file).second)
      throw_error(ErrorCode::kInvalidModel, "[{}] {} must be there once, got it twice", where_,
                  subject());
  }

 private:
  bool in_map() const { return field_ == "weight_map"; }
  std::string subject() const { return format("field 'weight_map': '{}'", printable(tensor_)); }
  [[noreturn]] void wrong(std::string_view what, std::string_view expected,
                          std::string_view got) const {
    throw_error(ErrorCode::kInvalidModel, "[{}] {} must be {}, got '{}'", where_, what, expected,
                printable(got));
  }

  const std::string& where_;
  int level_ = 0;
  bool seen_ = false;
  std::string field_;
  std::string tensor_;
  std::map<std::string, std::string> files_;
};

}  // namespace

std::map<std::string, TensorView> read_safetensors(const MappedFile& file) {
  const std::string_view header = header_of(file);
  const auto data = file.bytes().subspan(sizeof(uint64_t) + header.size());
  const std::vector<SafetensorsEntry> entries = read_safetensors_header(header, file.path());
  check_extents(entries, data.size(), file.path());
  std::map<std::string, TensorView> tensors;
  for (const SafetensorsEntry& entry : entries) {
    const TensorView view(data.data() + entry.begin, entry.dtype, entry.shape);
    if (!tensors.emplace(entry.name, view).second)
      throw_error(ErrorCode::kInvalidModel, "[{}] tensor '{}' must be there once, got it twice",
                  file.path(), printable(entry.name));
  }
  return tensors;
}

std::map<std::string, std::string> read_safetensors_index(const std::string& text,
                                                          const std::string& where) {
  IndexReader reader(where);
  read_json_events(text, where, "the index", reader);
  return reader.take();
}

}  // namespace brayton
