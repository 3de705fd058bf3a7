#include <array>
#include <cstring>

#include "core/check.h"
#include "core/checked_math.h"
#include "engine/file_layout.h"
#include "engine/output_file.h"
#include "engine/sections.h"

namespace brayton {
namespace {

using Progress = std::function<void(int64_t, int64_t)>;

std::string json_text(const Json& json, const char* section) {
  try {
    return json.dump();
  } catch (const Json::exception& fault) {
    throw_error(ErrorCode::kInvalidModel, "[engine] section '{}' must be valid UTF-8: {}", section,
                fault.what());
  }
}

// Puts bytes one after the other into the file, a chunk at a time, and hashes the chunks.
class SectionStream {
 public:
  SectionStream(OutputFile& file, uint64_t offset, const Progress& progress, int64_t total)
      : file_(file), offset_(offset), progress_(progress), total_(total), buffer_(kHashChunk) {}

  uint64_t bytes() const { return written_ + filled_; }

  void put(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const size_t count = std::min(bytes.size(), buffer_.size() - filled_);
      std::memcpy(buffer_.data() + filled_, bytes.data(), count);
      filled_ += count;
      bytes = bytes.subspan(count);
      if (filled_ == buffer_.size()) flush();
    }
  }

  void pad(int64_t alignment) {
    const std::array<std::byte, kTensorAlignment> zeros{};
    const auto now = static_cast<int64_t>(bytes());
    put(std::span(zeros).first(static_cast<size_t>(round_up(now, alignment) - now)));
  }

  uint64_t finish() {
    if (filled_ > 0) flush();
    return section_hash(hashes_, written_);
  }

 private:
  void flush() {
    const std::span<const std::byte> chunk(buffer_.data(), filled_);
    file_.write(chunk, offset_ + written_);
    hashes_.push_back(chunk_hash(chunk));
    written_ += filled_;
    filled_ = 0;
    if (progress_) progress_(static_cast<int64_t>(offset_ + written_), total_);
  }

  OutputFile& file_;
  uint64_t offset_;
  const Progress& progress_;
  int64_t total_;
  std::vector<std::byte> buffer_;
  size_t filled_ = 0;
  uint64_t written_ = 0;
  std::vector<uint64_t> hashes_;
};

SectionEntry entry_of(const std::string& name, uint64_t offset, uint64_t bytes) {
  SectionEntry entry{};
  BRAYTON_CHECK_LT(name.size(), sizeof entry.name);
  std::memcpy(entry.name, name.data(), name.size());
  entry.offset = offset;
  entry.bytes = bytes;
  return entry;
}

std::map<std::string, TensorView> kernel_views(
    const std::map<std::string, std::vector<std::byte>>& kernels) {
  std::map<std::string, TensorView> views;
  for (const auto& [key, image] : kernels)
    views[key] = {image.data(), DType::kU8, Shape{static_cast<int64_t>(image.size())}};
  return views;
}

// As make_weight_index() places them.
std::string packed(const std::map<std::string, TensorView>& tensors) {
  std::string bytes;
  for (const auto& [name, tensor] : tensors) {
    bytes.resize(
        static_cast<size_t>(round_up(static_cast<int64_t>(bytes.size()), kTensorAlignment)));
    bytes.append(tensor.as<const char>(), static_cast<size_t>(tensor.bytes()));
  }
  return bytes;
}

void write_weights(const Engine& engine, SectionStream& stream) {
  for (const auto& [name, tensor] : engine.weights) {
    stream.pad(kTensorAlignment);
    stream.put({tensor.as<const std::byte>(), static_cast<size_t>(tensor.bytes())});
    if (engine.release) engine.release(tensor);
  }
}

}  // namespace

void write_engine(const Engine& engine, const std::string& path, const Progress& progress) {
  const WeightIndex index = make_weight_index(engine.weights);
  const std::string tokenizer(reinterpret_cast<const char*>(engine.text.tokenizer.data()),
                              engine.text.tokenizer.size());
  std::vector<std::pair<std::string, std::string>> texts = {
      {"model", json_text(to_json(engine.model), "model")},
      {"plan", json_text(to_json(engine.plan), "plan")},
      {"graph", engine.graph},
      {"text", json_text(to_json(engine.text), "text")},
      {"tokenizer", tokenizer},
      {"weight_index", json_text(index.json, "weight_index")},
  };
  if (!engine.kernels.empty()) {
    const std::map<std::string, TensorView> images = kernel_views(engine.kernels);
    texts.emplace_back("kernel_index", json_text(make_weight_index(images).json, "kernel_index"));
    texts.emplace_back("kernels", packed(images));
  }

  std::vector<SectionEntry> table;
  const auto count = static_cast<int64_t>(texts.size()) + 1;
  int64_t end = sizeof(EngineHeader) + count * sizeof(SectionEntry);
  for (const auto& [name, text] : texts) {
    end = round_up(end, kSectionAlignment);
    table.push_back(entry_of(name, end, text.size()));
    end += static_cast<int64_t>(text.size());
  }
  end = round_up(end, kWeightsAlignment);
  table.push_back(entry_of("weights", end, index.bytes));
  end += index.bytes;

  OutputFile file(path);
  for (size_t i = 0; i < table.size(); ++i) {
    SectionStream stream(file, table[i].offset, progress, end);
    if (i < texts.size())
      stream.put(std::as_bytes(std::span(texts[i].second)));
    else
      write_weights(engine, stream);
    table[i].hash = stream.finish();
    BRAYTON_CHECK_EQ(stream.bytes(), table[i].bytes);
  }
  EngineHeader header{};
  std::memcpy(header.magic, kEngineMagic, sizeof kEngineMagic);
  header.major = kEngineMajor;
  header.minor = kEngineMinor;
  header.file_bytes = static_cast<uint64_t>(end);
  header.sections = static_cast<uint32_t>(table.size());
  header.hash = header_hash(header, table);
  file.write(std::as_bytes(std::span(&header, 1)), 0);
  file.write(std::as_bytes(std::span(table)), sizeof header);
  file.commit();
}

}  // namespace brayton
