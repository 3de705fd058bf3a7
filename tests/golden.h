// Golden files: what a model's original implementation answered.
#pragma once

#include <cstdlib>
#include <string>
#include <vector>

#include "brayton/error.h"
#include "brayton/llm.h"
#include "core/json.h"
#include "core/mapped_file.h"

namespace brayton {

// Of a test program that was built elsewhere, BRAYTON_TEST_DATA in the environment says where.
inline std::string data_path(const std::string& name) {
  const char* moved = std::getenv("BRAYTON_TEST_DATA");
  return std::string(moved ? moved : BRAYTON_TEST_DATA) + "/" + name;
}

inline std::string smollm2_path() {
  const char* moved = std::getenv("BRAYTON_SMOLLM2");
  return moved ? moved : BRAYTON_SMOLLM2;
}

inline Json read_golden(const std::string& folder) {
  const std::string path = data_path(folder + "/golden.json");
  return parse_json(read_text_file(path), path);
}

inline SamplingParams greedy(int64_t tokens) {
  SamplingParams params;
  params.max_tokens = tokens;
  params.ignore_eos = true;
  return params;
}

inline std::vector<int32_t> token_ids(const std::vector<TokenOutput>& tokens) {
  std::vector<int32_t> ids;
  for (const TokenOutput& token : tokens) ids.push_back(token.token);
  return ids;
}

}  // namespace brayton
