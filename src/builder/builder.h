// The one call behind `brayton build` and `brayton run CHECKPOINT`.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "backends/backend.h"
#include "compile/compile.h"
#include "engine/engine.h"
#include "text/tokenizer.h"

namespace brayton {

struct BuildOptions {
  std::optional<DType> dtype;  // nominal activation and cache type; absent: the checkpoint's
  bool dummy_weights = false;  // random weights for a bare config.json
  uint64_t dummy_seed = 1;
  CompileOptions compile;
};

struct BuildReport {
  CompileReport compile;
  double seconds = 0;
};

// A model in memory. Its engine lacks text.tokenizer: what makes the tokenizer is beside it.
struct BuiltModel {
  Engine engine;
  // Makes the tokenizer; nullopt: the model has none. Takes about as long as packing a small model:
  // call it on another thread. Throws Error(kInvalidModel).
  std::function<std::optional<Tokenizer>()> load_tokenizer;
};

// MODEL: a Hugging Face folder, a GGUF file, an engine file, or a config.json with dummy_weights.
// The engine refers to the model's files by maps. Tactics of an engine file that the backend does
// not know are chosen again.
BuiltModel build_model(const std::string& model, const Backend& backend,
                       const BuildOptions& options, BuildReport* report = nullptr);

// The same, complete for write_engine(): with the tokenizer, checked, in engine.text.
Engine build_engine(const std::string& model, const Backend& backend, const BuildOptions& options,
                    BuildReport* report = nullptr);

}  // namespace brayton
