// A request in flight, as the scheduler sees it. Plain data.
#pragma once

#include <cstdint>
#include <vector>

#include "brayton/request.h"
#include "executor/kv_cache/block_pool.h"

namespace brayton {

struct Sequence {
  RequestId id = 0;
  int64_t slot = -1;            // from admission to end; index of per-sequence device state
  std::vector<int32_t> tokens;  // prompt, then what was generated; -1 - slot: drawn, not yet known
  int64_t prompt_length = 0;
  int64_t max_length = 0;  // prompt_length + max_tokens, within the model's positions
  int64_t computed = 0;    // tokens whose keys lie in the cache after the steps under way
  std::vector<BlockId> blocks;
  bool prompt_logprobs = false;  // wants a logit row for every prompt token
  bool ended = false;            // no step may take it any more

  int64_t length() const { return static_cast<int64_t>(tokens.size()); }
  int64_t generated() const { return length() - prompt_length; }
  bool in_prompt() const { return computed < prompt_length; }
  // False when what is pending is a token after which nothing is wanted.
  bool wants_step() const { return !ended && (in_prompt() || length() < max_length); }
};

}  // namespace brayton
