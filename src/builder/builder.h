// The one call behind `brayton build` and `brayton run CHECKPOINT`.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "backends/backend.h"
#include "compile/compile.h"
#include "engine/engine.h"

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

// MODEL: a Hugging Face folder, a GGUF file, an engine file, or a config.json with dummy_weights.
// The engine refers to the model's files by maps; write_engine() makes it a file of its own.
Engine build_engine(const std::string& model, const Backend& backend, const BuildOptions& options,
                    BuildReport* report = nullptr);

}  // namespace brayton
