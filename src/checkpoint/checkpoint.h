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

// Tensors are views into the maps: valid as long as the checkpoint lives.
class Checkpoint {
 public:
  enum class Format { kSafetensors, kGguf };

  // A Hugging Face folder, a .safetensors file or a .gguf file. Throws Error naming file, field and
  // value. Never reads outside a map, never runs anything.
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
  // Path of a file of the folder, when it is there: "tokenizer.json".
  std::optional<std::string> file(const std::string& name) const;
  int64_t bytes() const;  // of all tensors

  // A GGUF's metadata with its arrays; null for other formats.
  const class GgufFile* gguf() const { return gguf_.get(); }

 private:
  Format format_ = Format::kSafetensors;
  std::string path_;
  Json config_;
  std::map<std::string, TensorView> tensors_;
  std::vector<std::shared_ptr<const MappedFile>> files_;
  std::shared_ptr<const class GgufFile> gguf_;
};

}  // namespace brayton
