// Fields of config.json that mean the same in every family, and limits that keep a lying config
// from building a huge graph.
#pragma once

#include <string>

#include "core/format.h"
#include "models/families.h"

namespace brayton {

inline constexpr int64_t kMaxHiddenSize = int64_t{1} << 18;
inline constexpr int64_t kMaxIntermediateSize = int64_t{1} << 20;
inline constexpr int64_t kMaxLayers = 1024;
inline constexpr int64_t kMaxHeads = 4096;
inline constexpr int64_t kMaxHeadDim = 4096;
inline constexpr int64_t kMaxVocabSize = int64_t{1} << 24;
inline constexpr int64_t kMaxPositions = int64_t{1} << 30;

template <class... Args>
[[noreturn]] void config_error(const JsonReader& config, fmt::format_string<Args...> text,
                               Args&&... args) {
  throw_error(ErrorCode::kInvalidModel, "[{}] {}", config.where(),
              fmt::format(text, std::forward<Args>(args)...));
}

// The config was made from GGUF metadata: some tensors are laid out otherwise.
inline bool is_gguf(const JsonReader& config) { return config.get_bool({"gguf"}, false); }

// Sizes of a model with as many key as query heads; head_dim is hidden_size / heads unless given. A
// GGUF file may leave the vocabulary's size to the shape of the tensor `embedding`.
// Throws Error(kInvalidModel) naming field, limits and value.
ModelInfo read_model_info(const JsonReader& config, const std::string& family,
                          int64_t default_positions, const WeightLookup& weights,
                          const std::string& embedding);

// A normalisation's epsilon, in [0, 1].
double read_eps(const JsonReader& config, JsonReader::Names fields, double otherwise);

// The function of a feed-forward block.
ActivationKind read_activation(const JsonReader& config, const std::string& field,
                               const std::string& otherwise);

}  // namespace brayton
