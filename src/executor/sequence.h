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
  std::vector<int32_t> tokens;  // prompt, then what was generated
  int64_t prompt_length = 0;
  int64_t max_length = 0;  // prompt_length + max_tokens, within the model's positions
  int64_t computed = 0;    // tokens whose keys lie in the cache
  std::vector<BlockId> blocks;
  bool prompt_logprobs = false;  // wants a logit row for every prompt token

  int64_t length() const { return static_cast<int64_t>(tokens.size()); }
  int64_t generated() const { return length() - prompt_length; }
  bool in_prompt() const { return computed < prompt_length; }
};

}  // namespace brayton
