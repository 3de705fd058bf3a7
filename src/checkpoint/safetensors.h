// The safetensors format: u64 header length, JSON header, data.
// Source: github.com/huggingface/safetensors, README "Format".
#pragma once

#include <map>
#include <memory>
#include <string>

#include "brayton/tensor_view.h"
#include "core/mapped_file.h"

namespace brayton {

// Tensors of one file, as views into `file`. Throws Error(kInvalidModel) "[path] tensor 'x': ...".
std::map<std::string, TensorView> read_safetensors(const MappedFile& file);

// model.safetensors.index.json: tensor name -> file name; checks that names stay in the folder.
std::map<std::string, std::string> read_safetensors_index(const std::string& text,
                                                          const std::string& where);

}  // namespace brayton
