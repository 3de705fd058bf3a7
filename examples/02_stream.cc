// 02: two prompts share the batch; one streams its text as it comes, and is cancelled after a
// sentence. Usage: 02_stream MODEL
#include <cstdio>
#include <future>

#include "brayton/brayton.h"

int main(int argc, char** argv) try {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s MODEL\n", argv[0]);
    return 2;
  }
  brayton::LLM llm(argv[1]);

  brayton::SamplingParams params;
  params.max_tokens = 48;
  params.temperature = 0.8;
  params.top_p = 0.95;
  params.seed = 7;  // same seed, same text, whatever else is in the batch

  auto other = std::async(std::launch::async,
                          [&] { return llm.generate("The old man looked at the sea", params); });

  const auto on_chunk = [](const brayton::TextChunk& chunk) {
    std::printf("%s", chunk.text.c_str());
    std::fflush(stdout);
    return chunk.text.find('.') == std::string::npos;  // false cancels
  };
  const brayton::Completion streamed = llm.generate("It was a dark night, and", params, on_chunk);

  std::printf("\n-- %s --\n%s\n", brayton::finish_reason_name(streamed.finish_reason),
              other.get().text.c_str());
} catch (const brayton::Error& error) {
  std::fprintf(stderr, "error: %s\n", error.what());
  return 1;
}
