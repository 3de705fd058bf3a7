#include "builder/model_text.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "checkpoint/gguf.h"
#include "core/format.h"

namespace brayton {
namespace {

constexpr int64_t kMostTokens = int64_t{1} << 31;

std::vector<std::byte> read_bytes(const std::string& path) {
  const auto file = MappedFile::open(path);
  return {file->bytes().begin(), file->bytes().end()};
}

Json read_json_if_there(const FileLookup& file, const std::string& name) {
  const std::optional<std::string> path = file(name);
  return path ? parse_json(read_text_file(*path), *path) : Json::object();
}

// A token as text, or as {"content": text}.
std::string token_text(const Json& config, const char* field) {
  const auto it = config.find(field);
  if (it == config.end()) return "";
  if (it->is_string()) return it->get<std::string>();
  if (it->is_object() && it->contains("content") && (*it)["content"].is_string())
    return (*it)["content"].get<std::string>();
  return "";
}

// One id or a list; anything else is no id.
std::vector<int64_t> token_ids(const Json& config, const char* field) {
  std::vector<int64_t> ids;
  const auto it = config.find(field);
  if (it == config.end()) return ids;
  const Json list = it->is_array() ? *it : Json::array({*it});
  for (const Json& id : list)
    if (id.is_number_integer() && id >= 0 && id < kMostTokens) ids.push_back(id.get<int64_t>());
  return ids;
}

std::string template_text(const FileLookup& file, const Json& tokenizer_config) {
  if (const auto path = file("chat_template.jinja")) return read_text_file(*path);
  const auto it = tokenizer_config.find("chat_template");
  if (it == tokenizer_config.end()) return "";
  if (it->is_string()) return it->get<std::string>();
  if (!it->is_array()) return "";
  for (const Json& row : *it)  // [{"name": "default", "template": ...}, ...]
    if (row.is_object() && row.value("name", Json()) == "default" &&
        row.value("template", Json()).is_string())
      return row["template"].get<std::string>();
  return "";
}

// Tokens beside the vocabulary, by id.
std::vector<std::string> added_tokens(const Json& tokenizer_config) {
  std::map<int64_t, std::string> by_id;
  const auto it = tokenizer_config.find("added_tokens_decoder");
  if (it != tokenizer_config.end() && it->is_object())
    for (const auto& [id, token] : it->items()) {
      const std::string text = token.is_object() ? token_text(token, "content") : "";
      if (!text.empty() && id.size() < 10 && std::all_of(id.begin(), id.end(), ::isdigit))
        by_id[std::stoll(id)] = text;
    }
  std::vector<std::string> tokens;
  for (const auto& [id, text] : by_id) tokens.push_back(text);
  return tokens;
}

TokenizerSource folder_tokenizer(const FileLookup& file, const JsonReader& config,
                                 const Json& tokenizer_config) {
  TokenizerSource source;
  if (const auto json = file("tokenizer.json")) {
    source.where = *json;
    source.bytes = read_bytes(*json);
    return source;
  }
  if (const auto model = file("tokenizer.model")) {
    source.where = *model;
    source.kind = Tokenizer::Kind::kSentencePiece;
    source.bytes = read_bytes(*model);
    return source;
  }
  const auto vocab = file("vocab.json"), merges = file("merges.txt");
  if (!vocab || !merges) return source;
  const std::string pre =
      config.get_string({"model_type"}, "").starts_with("qwen") ? "qwen2" : "gpt-2";
  source.where = *vocab;
  source.make = [vocab = *vocab, merges = *merges, pre, added = added_tokens(tokenizer_config)] {
    const std::vector<std::string_view> special(added.begin(), added.end());
    return Tokenizer::from_bpe_files(read_text_file(vocab), read_text_file(merges), vocab, pre,
                                     special);
  };
  return source;
}

std::optional<int32_t> gguf_id(const JsonReader& metadata, const std::string& name) {
  const std::string key = "tokenizer.ggml." + name;
  if (!metadata.has(key)) return std::nullopt;
  return static_cast<int32_t>(metadata.get_int({key}, 0, kMostTokens - 1));
}

Tokenizer make_gguf_tokenizer(const Checkpoint& checkpoint) {
  const GgufFile& gguf = *checkpoint.gguf();
  const JsonReader metadata(gguf.metadata(), checkpoint.path());
  const std::string prefix = "tokenizer.ggml.";
  GgufVocab vocab;
  vocab.model = metadata.get_string({prefix + "model"});
  vocab.pre = metadata.get_string({prefix + "pre"}, "");
  vocab.tokens = gguf.strings(prefix + "tokens");
  if (gguf.has_array(prefix + "scores")) vocab.scores = gguf.floats(prefix + "scores");
  if (gguf.has_array(prefix + "token_type")) vocab.token_types = gguf.ints(prefix + "token_type");
  if (gguf.has_array(prefix + "merges")) vocab.merges = gguf.strings(prefix + "merges");
  vocab.bos = gguf_id(metadata, "bos_token_id");
  vocab.eos = gguf_id(metadata, "eos_token_id");
  vocab.unk = gguf_id(metadata, "unknown_token_id");
  // A SentencePiece vocabulary begins texts with BOS unless told otherwise.
  vocab.add_bos = metadata.get_bool({prefix + "add_bos_token"}, vocab.model == "llama");
  vocab.add_eos = metadata.get_bool({prefix + "add_eos_token"}, false);
  vocab.add_space_prefix = metadata.get_bool({prefix + "add_space_prefix"}, true);
  return Tokenizer::from_gguf(vocab, checkpoint.path());
}

}  // namespace

std::optional<Tokenizer> TokenizerSource::load() const {
  if (make) return make();
  if (bytes.empty()) return std::nullopt;
  return Tokenizer::deserialize(kind, bytes, where);
}

ModelText read_folder_text(const FileLookup& file, const JsonReader& config) {
  ModelText result;
  const Json tokenizer_config = read_json_if_there(file, "tokenizer_config.json");
  const Json generation = read_json_if_there(file, "generation_config.json");
  if (generation.is_object()) result.generation = generation;
  if (tokenizer_config.is_object()) {
    result.text.chat_template = template_text(file, tokenizer_config);
    result.text.bos_token = token_text(tokenizer_config, "bos_token");
    result.text.eos_token = token_text(tokenizer_config, "eos_token");
  }
  result.tokenizer = folder_tokenizer(file, config, tokenizer_config);
  result.text.tokenizer_kind = static_cast<uint8_t>(result.tokenizer.kind);
  for (const Json* from : std::initializer_list<const Json*>{&result.generation, &config.json()}) {
    if (result.eos_token_ids.empty()) result.eos_token_ids = token_ids(*from, "eos_token_id");
    const std::vector<int64_t> bos = token_ids(*from, "bos_token_id");
    if (result.bos_token_id < 0 && !bos.empty()) result.bos_token_id = bos.front();
  }
  return result;
}

ModelText read_gguf_text(std::shared_ptr<const Checkpoint> checkpoint) {
  ModelText result;
  const GgufFile& gguf = *checkpoint->gguf();
  const JsonReader metadata(gguf.metadata(), checkpoint->path());
  result.text.chat_template = metadata.get_string({"tokenizer.chat_template"}, "");
  const std::optional<int32_t> bos = gguf_id(metadata, "bos_token_id");
  const std::optional<int32_t> eos = gguf_id(metadata, "eos_token_id");
  if (bos) result.bos_token_id = *bos;
  for (const char* name : {"eos_token_id", "eot_token_id"})
    if (const auto id = gguf_id(metadata, name)) result.eos_token_ids.push_back(*id);
  const std::string tokens = "tokenizer.ggml.tokens";
  if (!metadata.has("tokenizer.ggml.model") || !gguf.has_array(tokens)) return result;
  const std::vector<std::string_view> texts = gguf.strings(tokens);
  const auto text_of = [&](std::optional<int32_t> id) {
    return id && *id < static_cast<int64_t>(texts.size()) ? std::string(texts[*id]) : "";
  };
  result.text.bos_token = text_of(bos);
  result.text.eos_token = text_of(eos);
  result.tokenizer.where = checkpoint->path();
  result.tokenizer.make = [checkpoint] { return make_gguf_tokenizer(*checkpoint); };
  return result;
}

}  // namespace brayton
