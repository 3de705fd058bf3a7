// The safetensors format: u64 header length, JSON header, data.
// Source: github.com/huggingface/safetensors, README "Format".
#pragma once

#include <map>
#include <memory>
#include <string>

#include "brayton/tensor_view.h"
#include "core/mapped_file.h"

namespace brayton {

// Tensors of one file, as views into `file`. Throws Error "[path] tensor 'x' field 'y' must be
// ...". Like the format's own reader it refuses data that overlaps, has holes or is left over. A
// header of odd length is allowed, as old writers made them: such views may lie at any address.
std::map<std::string, TensorView> read_safetensors(const MappedFile& file);

// model.safetensors.index.json: tensor name -> file name; checks that names stay in the folder.
std::map<std::string, std::string> read_safetensors_index(const std::string& text,
                                                          const std::string& where);

}  // namespace brayton
