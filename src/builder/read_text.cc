#include "builder/read_text.h"

#include "checkpoint/gguf.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace brayton {
namespace {

std::vector<std::byte> bytes_of(const std::string& path) {
  const auto file = MappedFile::open(path);
  return {file->bytes().begin(), file->bytes().end()};
}

void keep(const Tokenizer& tokenizer, EngineText& text) {
  text.tokenizer_kind = static_cast<uint8_t>(tokenizer.kind());
  text.tokenizer = tokenizer.serialize();
}

GgufVocab read_gguf_vocab(const GgufFile& file, const std::string& where) {
  const JsonReader metadata(file.metadata(), where);
  const auto id = [&](const char* key) -> std::optional<int32_t> {
    if (!metadata.has(key)) return std::nullopt;
    return static_cast<int32_t>(metadata.get_int({key}, 0, INT32_MAX));
  };
  GgufVocab vocab;
  vocab.model = metadata.get_string({"tokenizer.ggml.model"});
  vocab.pre = metadata.get_string({"tokenizer.ggml.pre"}, "default");
  vocab.tokens = file.strings("tokenizer.ggml.tokens");
  if (file.has_array("tokenizer.ggml.scores")) vocab.scores = file.floats("tokenizer.ggml.scores");
  if (file.has_array("tokenizer.ggml.token_type"))
    vocab.token_types = file.ints("tokenizer.ggml.token_type");
  if (file.has_array("tokenizer.ggml.merges")) vocab.merges = file.strings("tokenizer.ggml.merges");
  vocab.bos = id("tokenizer.ggml.bos_token_id");
  vocab.eos = id("tokenizer.ggml.eos_token_id");
  vocab.unk = id("tokenizer.ggml.unknown_token_id");
  // SentencePiece models begin with BOS unless the file says otherwise.
  vocab.add_bos = metadata.get_bool({"tokenizer.ggml.add_bos_token"}, vocab.model == "llama");
  vocab.add_eos = metadata.get_bool({"tokenizer.ggml.add_eos_token"}, false);
  vocab.add_space_prefix = metadata.get_bool({"tokenizer.ggml.add_space_prefix"}, true);
  return vocab;
}

EngineText read_gguf_text(const Checkpoint& checkpoint) {
  EngineText text;
  const GgufFile& file = *checkpoint.gguf();
  if (!file.has_array("tokenizer.ggml.tokens")) return text;
  const GgufVocab vocab = read_gguf_vocab(file, checkpoint.path());
  keep(Tokenizer::from_gguf(vocab, checkpoint.path()), text);
  const auto spelling = [&](std::optional<int32_t> id) {
    return id && static_cast<size_t>(*id) < vocab.tokens.size() ? std::string(vocab.tokens[*id])
                                                                : std::string();
  };
  text.bos_token = spelling(vocab.bos);
  text.eos_token = spelling(vocab.eos);
  text.chat_template = JsonReader(file.metadata(), checkpoint.path())
                           .get_string({"tokenizer.chat_template"}, "");
  return text;
}

}  // namespace

EngineText read_text(const Checkpoint& checkpoint) {
  if (checkpoint.gguf()) return read_gguf_text(checkpoint);
  EngineText text;
  const auto json = checkpoint.file("tokenizer.json");
  const auto sentencepiece = checkpoint.file("tokenizer.model");
  const auto vocab = checkpoint.file("vocab.json");
  const auto merges = checkpoint.file("merges.txt");
  if (json) {
    text.tokenizer_kind = static_cast<uint8_t>(Tokenizer::Kind::kHuggingFace);
    text.tokenizer = bytes_of(*json);
  } else if (sentencepiece) {
    text.tokenizer_kind = static_cast<uint8_t>(Tokenizer::Kind::kSentencePiece);
    text.tokenizer = bytes_of(*sentencepiece);
  } else if (vocab && merges) {
    keep(Tokenizer::from_bpe_files(read_text_file(*vocab), read_text_file(*merges), *vocab), text);
  }
  if (const auto path = checkpoint.file("tokenizer_config.json")) {
    const Json config = parse_json(read_text_file(*path), *path);
    text.bos_token = special_token_from_config(config, "bos_token", *path);
    text.eos_token = special_token_from_config(config, "eos_token", *path);
    text.chat_template = chat_template_from_config(config, *path);
  }
  if (const auto path = checkpoint.file("chat_template.jinja"))
    text.chat_template = read_text_file(*path);
  return text;
}

}  // namespace brayton
