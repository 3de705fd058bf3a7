// Everything of a model that is not arithmetic: its tokenizer, chat template, special tokens and
// generation defaults, from the files of a folder or the metadata of a GGUF.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "engine/engine.h"
#include "text/tokenizer.h"

namespace brayton {

// Bytes of a tokenizer as they lie in a file, or what makes one of parts. Neither: there is none.
struct TokenizerSource {
  std::string where;
  Tokenizer::Kind kind = Tokenizer::Kind::kHuggingFace;
  std::vector<std::byte> bytes;
  std::function<Tokenizer()> make;

  std::optional<Tokenizer> load() const;
};

struct ModelText {
  EngineText text;  // without the tokenizer's bytes
  TokenizerSource tokenizer;
  std::vector<int64_t> eos_token_ids;  // as the files say, unchecked
  int64_t bos_token_id = -1;
  Json generation = Json::object();
};

// Path of a file beside config.json, when it is there.
using FileLookup = std::function<std::optional<std::string>(const std::string& name)>;

ModelText read_folder_text(const FileLookup& file, const JsonReader& config);
ModelText read_gguf_text(std::shared_ptr<const Checkpoint> gguf);

}  // namespace brayton
