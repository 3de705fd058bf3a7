// A checkpoint: named tensors in mapped files, and the texts that lie beside them.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "brayton/tensor_view.h"
#include "core/json.h"
#include "core/mapped_file.h"

namespace brayton {

// Tensors are views into the maps: valid as long as the checkpoint lives. Their addresses are
// multiples of the size of their type's elements (blocks may lie anywhere): tensors that lie
// otherwise in a file, as old writers of safetensors left them, are copied when it is opened.
class Checkpoint {
 public:
  enum class Format { kSafetensors, kGguf };

  // A Hugging Face folder, a .safetensors file with config.json beside it, or a .gguf file. Throws
  // Error naming file, field and value. Never reads outside a map, never runs anything.
  static Checkpoint open(const std::string& path);

  Format format() const { return format_; }
  const std::string& path() const { return path_; }
  // config.json of a folder, or the metadata of a GGUF: {"general.architecture": "llama", ...}
  // (arrays of more than 1024 elements excepted: see gguf()).
  const Json& config() const { return config_; }
  const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  const TensorView* find(const std::string& name) const;
  // Drops the resident pages of a tensor that has been packed elsewhere.
  void release(const TensorView& tensor) const;
  // Path of a file of the checkpoint's folder, when it is there: "tokenizer.json". A GGUF has none.
  std::optional<std::string> file(const std::string& name) const;
  int64_t bytes() const;  // of all tensors

  // A GGUF's metadata with its arrays; null for other formats.
  const class GgufFile* gguf() const { return gguf_.get(); }

 private:
  void open_safetensors(const std::string& weights);  // the name of a file in folder_
  void open_gguf(std::shared_ptr<const MappedFile> file);
  std::vector<std::string> add_file(const std::string& name);  // returns its tensors
  void add_tensors(const std::map<std::string, TensorView>& tensors, const std::string& path);

  Format format_ = Format::kSafetensors;
  std::string path_;
  std::string folder_;  // where config.json and tokenizers lie; empty for a GGUF
  Json config_;
  std::map<std::string, TensorView> tensors_;
  std::vector<std::shared_ptr<const MappedFile>> files_;
  std::vector<std::shared_ptr<std::byte[]>> copies_;  // of tensors that were not aligned
  std::shared_ptr<const class GgufFile> gguf_;
};

}  // namespace brayton
