// The GGUF format, versions 2 and 3: metadata, tensor table, data.
// Source: github.com/ggml-org/ggml, docs/gguf.md.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "brayton/tensor_view.h"
#include "core/json.h"
#include "core/mapped_file.h"

namespace brayton {

// Shapes are row-major as everywhere here: GGUF's ne[0] is the last dimension.
class GgufFile {
 public:
  // Throws Error(kInvalidModel) "[path] field 'x' must be ..., got ...".
  static std::shared_ptr<const GgufFile> parse(std::shared_ptr<const MappedFile> file);

  int version() const { return version_; }
  // All values but arrays of more than 1024 elements, of which Json holds null.
  const Json& metadata() const { return metadata_; }
  const std::map<std::string, TensorView>& tensors() const { return tensors_; }

  // Arrays of any length. Throw Error when absent or of another type.
  bool has_array(const std::string& key) const { return arrays_.contains(key); }
  std::vector<std::string_view> strings(const std::string& key) const;  // views into the map
  std::vector<float> floats(const std::string& key) const;
  std::vector<int32_t> ints(const std::string& key) const;

 private:
  struct Array {
    uint32_t type;
    uint64_t count;
    const std::byte* data;
    size_t bytes;  // to the end of the array
  };
  std::shared_ptr<const MappedFile> file_;
  int version_ = 0;
  Json metadata_;
  std::map<std::string, Array> arrays_;
  std::map<std::string, TensorView> tensors_;
};

}  // namespace brayton
