// What the sections of an engine file hold, as JSON.
#pragma once

#include <span>
#include <string>

#include "engine/engine.h"

namespace brayton {

Json to_json(const EngineModel& model);
EngineModel model_from_json(const Json& json, const std::string& where);

// Without the tokenizer's bytes, which are a section of their own.
Json to_json(const EngineText& text);
EngineText text_from_json(const Json& json, const std::string& where);

// Name, dtype, shape and place in the section "weights" of every tensor, in file order.
struct WeightIndex {
  Json json;
  int64_t bytes = 0;  // of the section
};
WeightIndex make_weight_index(const std::map<std::string, TensorView>& weights);
// Views into `section`. Throws Error(kInvalidModel) for whatever does not lie there.
std::map<std::string, TensorView> weights_from_json(const Json& json,
                                                    std::span<const std::byte> section,
                                                    const std::string& where);

}  // namespace brayton
