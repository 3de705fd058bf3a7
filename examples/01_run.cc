// 01: a model answers a question. Usage: 01_run MODEL ["question"]
#include <cstdio>

#include "brayton/brayton.h"

int main(int argc, char** argv) try {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s MODEL [\"question\"]\n", argv[0]);
    return 2;
  }
  brayton::LLM llm(argv[1]);
  const std::string prompt = argc > 2 ? argv[2] : "It was a dark night, and";

  brayton::SamplingParams params;
  params.max_tokens = 32;
  const brayton::Completion completion = llm.generate(prompt, params);

  std::printf("%s%s\n", prompt.c_str(), completion.text.c_str());
  std::fprintf(stderr, "%zu tokens, ended by %s, %.1f tok/s on %s\n", completion.tokens.size(),
               brayton::finish_reason_name(completion.finish_reason), completion.decode_tok_s,
               llm.device().c_str());
} catch (const brayton::Error& error) {
  std::fprintf(stderr, "error: %s\n", error.what());
  return 1;
}
