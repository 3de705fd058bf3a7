// The list of model families, and the way from a config to a graph.
#pragma once

#include <string>
#include <vector>

#include "core/json.h"
#include "graph/graph_builder.h"

namespace brayton {

// What the rest of the system needs to know of a model beside its graph.
struct ModelInfo {
  std::string family;  // "llama"
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t max_positions = 0;  // longest sequence the model was made for
};

struct ModelDefinition {
  ModelInfo info;
  Graph graph;
};

// One row a family.
struct Family {
  std::string name;
  std::vector<std::string> architectures;  // of config.json's "architectures" and "model_type"
  std::string gguf_architecture;           // of "general.architecture"; empty: GGUF has none
  // GGUF tensor names -> this family's names, without ".weight" or ".bias"; '*' stands for the
  // layer.
  std::vector<std::pair<std::string, std::string>> gguf_names;
  ModelDefinition (*build)(const JsonReader& config, DType dtype, const WeightLookup& weights);
};

// The rows, each written beside its family's graph.
Family llama_family();  // llama.cc
Family mistral_family();
Family gpt2_family();
Family gpt_neox_family();
Family bloom_family();

const std::vector<Family>& families();

// By "architectures"; by "model_type" when it lists none. Throws Error(kUnsupported) that says what
// it is, which families there are and which name is nearest.
const Family& find_family(const JsonReader& config);
// By "general.architecture" of GGUF; the same error.
const Family& find_gguf_family(const std::string& architecture, const std::string& where);

// GGUF metadata as the config.json that the family's build reads; find_family() knows it. Adds
// "gguf": true, for layouts that GGUF stores in another order. If the file has a tensor
// "rope_freqs.weight", the caller adds its values as the list "rope_divisors".
// Throws Error(kUnsupported) for an architecture that no family has.
Json config_from_gguf(const Json& metadata, const std::string& where);
// The checkpoint's name -> the family's name, for every tensor of a GGUF file. A name that the
// family does not know stays as it is.
std::string name_from_gguf(const Family& family, const std::string& gguf_name);

}  // namespace brayton
