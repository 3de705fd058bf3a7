#include "checkpoint/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <functional>
#include <set>

#include "checkpoint/gguf.h"
#include "checkpoint/printable.h"
#include "checkpoint/safetensors.h"
#include "core/format.h"
#include "core/log.h"

namespace brayton {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxConfigBytes = size_t{16} << 20;
constexpr char kSingle[] = "model.safetensors";
constexpr char kIndex[] = "model.safetensors.index.json";

template <class... Args>
[[noreturn]] void refuse(const std::string& path, fmt::format_string<Args...> text,
                         Args&&... args) {
  throw_error(ErrorCode::kInvalidModel, "[{}] {}", path,
              fmt::format(text, std::forward<Args>(args)...));
}

bool is_pickle_name(const std::string& name) {
  const std::string extension = fs::path(name).extension().string();
  return extension == ".bin" || extension == ".pt" || extension == ".pth" || extension == ".ckpt";
}

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code fault;
  for (fs::directory_iterator it(folder, fault), end; !fault && it != end; it.increment(fault))
    names.push_back(it->path().filename().string());
  if (fault)
    throw_error(ErrorCode::kEnvironment, "[{}] the folder cannot be listed: {}", folder,
                fault.message());
  std::sort(names.begin(), names.end());
  return names;
}

// The weights of a folder: one safetensors file, or the index of several.
std::string weights_in(const std::string& folder) {
  const std::vector<std::string> names = names_in(folder);
  if (names.empty()) refuse(folder, "the folder must hold a model, got an empty folder");
  const auto has = [&](const char* name) {
    return std::binary_search(names.begin(), names.end(), name);
  };
  if (has(kSingle)) return kSingle;
  if (has(kIndex)) return kIndex;
  std::vector<std::string> safetensors, ggufs, pickles;
  for (const std::string& name : names) {
    if (name.ends_with(".safetensors")) safetensors.push_back(name);
    if (name.ends_with(".gguf")) ggufs.push_back(name);
    if (is_pickle_name(name)) pickles.push_back(name);
  }
  if (safetensors.size() == 1) return safetensors.front();
  if (!safetensors.empty())
    refuse(folder, "'{}' must name the tensors of {} safetensors files, got no such file", kIndex,
           safetensors.size());
  if (!ggufs.empty())
    refuse(folder,
           "the folder must hold safetensors, got GGUF files; give the path of one "
           "of them: '{}'",
           printable(ggufs.front()));
  if (!pickles.empty())
    refuse(folder,
           "weights must be safetensors, got the pickle file '{}', which can run "
           "code when it is read; convert to safetensors",
           printable(pickles.front()));
  refuse(folder, "the folder must hold '{}', '{}' or one *.safetensors file, got none", kSingle,
         kIndex);
}

void check_file_kind(const MappedFile& file) {
  const auto bytes = file.bytes();
  const auto begins = [&](std::string_view magic) {
    return bytes.size() >= magic.size() &&
           std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
  };
  if (is_pickle_name(file.path()) || begins("PK\x03\x04") || begins("\x80\x02"))
    refuse(file.path(),
           "weights must be safetensors or GGUF, got a pickle checkpoint, which can run code when "
           "it is read; convert to safetensors");
  refuse(
      file.path(),
      "a model must be a folder, a .safetensors, a .gguf or an engine file, got a file of {} bytes "
      "that begins like none of them",
      bytes.size());
}

bool is_aligned(const TensorView& tensor) {
  const DTypeInfo& info = dtype_info(tensor.dtype);
  const size_t unit = info.block_elements > 1 ? 1 : static_cast<size_t>(info.block_bytes);
  return reinterpret_cast<uintptr_t>(tensor.data) % unit == 0;
}

}  // namespace

Checkpoint Checkpoint::open(const std::string& path) {
  Checkpoint result;
  result.path_ = path;
  std::error_code fault;
  const fs::file_status status = fs::status(path, fault);
  if (!fs::exists(status))
    throw_error(ErrorCode::kInvalidArgument,
                "[{}] a model must be a folder, a .safetensors, a .gguf or an engine file, got a "
                "path that does not exist",
                path);
  if (fs::is_directory(status)) {
    result.folder_ = path;
    result.open_safetensors(weights_in(path));
    return result;
  }
  std::shared_ptr<const MappedFile> file = MappedFile::open(path);
  if (file->size() >= 4 && std::memcmp(file->bytes().data(), "GGUF", 4) == 0) {
    result.open_gguf(std::move(file));
  } else if (path.ends_with(".safetensors")) {
    result.folder_ = fs::path(path).has_parent_path() ? fs::path(path).parent_path().string() : ".";
    result.open_safetensors(fs::path(path).filename().string());
  } else if (path.ends_with(".gguf")) {
    result.open_gguf(std::move(file));  // says what is wrong with it
  } else {
    check_file_kind(*file);
  }
  return result;
}

void Checkpoint::open_gguf(std::shared_ptr<const MappedFile> file) {
  format_ = Format::kGguf;
  gguf_ = GgufFile::parse(file);
  config_ = gguf_->metadata();
  const auto parts = config_.find("split.count");
  if (parts != config_.end() && parts->is_number() && *parts > 1)
    throw_error(ErrorCode::kUnsupported,
                "[{}] field 'split.count' must be 1, got {}; join the parts with llama-gguf-split "
                "--merge",
                path_, parts->dump());
  files_.push_back(std::move(file));
  add_tensors(gguf_->tensors(), path_);
}

void Checkpoint::open_safetensors(const std::string& weights) {
  const std::optional<std::string> config = this->file("config.json");
  if (!config) refuse(folder_, "the folder must hold 'config.json', got none");
  config_ = parse_json(read_text_file(*config, kMaxConfigBytes), *config);
  if (!config_.is_object()) refuse(*config, "the file must be a JSON object");
  if (weights != kIndex) {
    add_file(weights);
    return;
  }
  const std::string index = (fs::path(folder_) / kIndex).string();
  const std::map<std::string, std::string> places =
      read_safetensors_index(read_text_file(index), index);
  std::set<std::string> shards;
  for (const auto& [name, shard] : places) shards.insert(shard);
  std::map<std::string, std::string> found;
  for (const std::string& shard : shards) {
    if (!file(shard))
      refuse(index,
             "field 'weight_map' must name files of the folder, got '{}', which is "
             "not there",
             printable(shard));
    for (const std::string& name : add_file(shard)) found.emplace(name, shard);
  }
  for (const auto& [name, shard] : places) {
    const auto it = found.find(name);
    if (it == found.end() || it->second != shard)
      refuse(index, "field 'weight_map': '{}' must be in '{}', got {}", printable(name),
             printable(shard),
             it == found.end() ? "no such tensor"
                               : brayton::format("it in '{}'", printable(it->second)));
  }
}

std::vector<std::string> Checkpoint::add_file(const std::string& name) {
  std::shared_ptr<const MappedFile> file = MappedFile::open((fs::path(folder_) / name).string());
  const std::map<std::string, TensorView> tensors = read_safetensors(*file);
  add_tensors(tensors, file->path());
  files_.push_back(std::move(file));
  std::vector<std::string> names;
  for (const auto& [tensor, view] : tensors) names.push_back(tensor);
  return names;
}

void Checkpoint::add_tensors(const std::map<std::string, TensorView>& tensors,
                             const std::string& path) {
  int copied = 0;
  for (const auto& [name, view] : tensors) {
    TensorView tensor = view;
    if (!is_aligned(tensor)) {
      const auto bytes = static_cast<size_t>(tensor.bytes());
      const auto& copy = copies_.emplace_back(new std::byte[bytes]);
      std::memcpy(copy.get(), tensor.data, bytes);
      tensor.data = copy.get();
      ++copied;
    }
    if (!tensors_.emplace(name, tensor).second)
      refuse(path, "tensor '{}' must be in one file, got it in two", printable(name));
  }
  if (copied > 0)
    log_info("[{}] {} tensors do not lie on multiples of their type's size and were copied", path,
             copied);
}

const TensorView* Checkpoint::find(const std::string& name) const {
  const auto it = tensors_.find(name);
  return it == tensors_.end() ? nullptr : &it->second;
}

void Checkpoint::release(const TensorView& tensor) const {
  const auto* begin = static_cast<const std::byte*>(tensor.data);
  for (const auto& file : files_) {
    const std::byte* first = file->bytes().data();
    if (std::less_equal<>()(first, begin) && std::less<>()(begin, first + file->size()))
      file->drop_pages(begin, static_cast<size_t>(tensor.bytes()));
  }
}

std::optional<std::string> Checkpoint::file(const std::string& name) const {
  if (folder_.empty()) return std::nullopt;
  const fs::path path = fs::path(folder_) / name;
  std::error_code fault;
  if (!fs::is_regular_file(path, fault)) return std::nullopt;
  return path.string();
}

int64_t Checkpoint::bytes() const {
  int64_t total = 0;
  for (const auto& [name, tensor] : tensors_) total += tensor.bytes();
  return total;
}

}  // namespace brayton
