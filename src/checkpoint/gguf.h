// The GGUF format, versions 2 and 3: metadata, tensor table, data.
// Source: github.com/ggml-org/ggml, docs/gguf.md.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "brayton/tensor_view.h"
#include "checkpoint/gguf_metadata.h"
#include "core/json.h"
#include "core/mapped_file.h"

namespace brayton {

// Shapes are row-major as everywhere here: GGUF's ne[0] is the last dimension.
class GgufFile {
 public:
  // Throws Error "[path] field 'x' must be ..., got ...", or "tensor 'x' ...".
  static std::shared_ptr<const GgufFile> parse(std::shared_ptr<const MappedFile> file);

  int version() const { return version_; }
  // All values but arrays of more than 1024 elements, of which Json holds null. Strings are valid
  // UTF-8: other bytes became U+FFFD.
  const Json& metadata() const { return metadata_; }
  const std::map<std::string, TensorView>& tensors() const { return tensors_; }

  // Arrays of any length. Throw Error when absent or of another type; ints() takes every integer
  // type as long as the values fit, floats() f32 and f64.
  bool has_array(const std::string& key) const { return arrays_.contains(key); }
  std::vector<std::string_view> strings(
      const std::string& key) const;  // raw bytes, views into the map
  std::vector<float> floats(const std::string& key) const;
  std::vector<int32_t> ints(const std::string& key) const;

 private:
  friend class GgufParser;
  const GgufArray& array(const std::string& key) const;

  std::shared_ptr<const MappedFile> file_;
  int version_ = 0;
  Json metadata_;
  std::map<std::string, GgufArray> arrays_;
  std::map<std::string, TensorView> tensors_;
};

}  // namespace brayton
