// An engine: everything a server needs of a model, from one file or made in memory.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "brayton/tensor_view.h"
#include "core/json.h"
#include "engine/plan.h"

namespace brayton {

class MappedFile;

// Names as in the file's "model" section.
struct EngineModel {
  std::string family;
  std::string name;  // of the checkpoint
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t max_positions = 0;
  std::vector<int32_t> eos_token_ids;
  int32_t bos_token_id = -1;
  Json generation;  // defaults: temperature, top_p, ... as generation_config.json names them
};

struct EngineText {
  uint8_t tokenizer_kind = 0;        // Tokenizer::Kind
  std::vector<std::byte> tokenizer;  // empty: the model has none
  std::string chat_template;         // empty: none
  std::string bos_token, eos_token;
};

class Engine {
 public:
  EngineModel model;
  EngineText text;
  std::string graph;  // text form, after the passes
  Plan plan;
  // Compiled kernels by key; a device takes those that fit it and compiles the others.
  std::map<std::string, std::vector<std::byte>> kernels;

  // Tensors lie in a map that `owner` keeps alive.
  std::map<std::string, TensorView> weights;
  std::shared_ptr<const void> owner;
  // Drops resident pages of a tensor that a device has packed; may be empty.
  std::function<void(const TensorView&)> release;

  int64_t weight_bytes() const;
};

// Writes to a temporary file beside `path`, then renames. Throws Error(kEnvironment).
// `progress`: bytes written so far and in all; may be empty.
void write_engine(const Engine& engine, const std::string& path,
                  const std::function<void(int64_t, int64_t)>& progress = {});

// Maps the file, checks version, layout and the hash of every section.
// Throws Error(kInvalidModel) "[path] section 'weights' is damaged: ...; build the engine again".
Engine open_engine(const std::string& path);
Engine open_engine(std::shared_ptr<const MappedFile> file);

bool is_engine_file(const std::string& path);  // by its first bytes

}  // namespace brayton
