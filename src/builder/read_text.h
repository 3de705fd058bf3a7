// The tokenizer and chat template of a checkpoint, in the form that an engine keeps.
#pragma once

#include "checkpoint/checkpoint.h"
#include "engine/engine.h"

namespace brayton {

// tokenizer.json, tokenizer.model, vocab.json with merges.txt, or a GGUF's vocabulary; empty where
// there is none. Throws Error(kInvalidModel) naming the file.
EngineText read_text(const Checkpoint& checkpoint);

}  // namespace brayton
