#include "llm/load.h"

#include <algorithm>

#include "compile/plan/choose_kernels.h"
#include "core/format.h"

namespace brayton {

BuildOptions build_options(const LoadOptions& options) {
  return {.dtype = options.dtype, .dummy_weights = options.dummy_weights};
}

ProgramOptions program_options(const LoadOptions& options, const Engine& engine,
                               const Backend& backend) {
  const auto in_range = [](const char* name, int64_t value, int64_t low, int64_t high) {
    if (value < low || value > high)
      throw_error(ErrorCode::kInvalidArgument, "[load] {} must be in [{}, {}], got {}", name, low,
                  high, value);
    return value;
  };
  constexpr int64_t kMany = int64_t{1} << 20;
  in_range("max_seq_len", options.max_seq_len, 0, engine.model.max_positions);
  ProgramOptions result;
  const bool gpu = backend.kind() != "cpu";
  result.max_tokens = in_range("max_num_tokens", options.max_num_tokens, 0, kMany);
  if (result.max_tokens == 0) result.max_tokens = gpu ? 8192 : 512;
  result.max_sequences = in_range("max_batch_size", options.max_batch_size, 0, kMany);
  if (result.max_sequences == 0) result.max_sequences = gpu ? 256 : 64;
  result.max_sequences = std::min(result.max_sequences, result.max_tokens);
  // A decode step needs a row for every sequence.
  result.max_logit_rows = std::max<int64_t>(64, result.max_sequences);
  result.kv_block_size = in_range("kv_block_size", options.kv_block_size, 1, kMany);
  result.kv_bytes = in_range("kv_bytes", options.kv_bytes, 0, int64_t{1} << 50);
  result.memory_fraction = options.memory_fraction;
  result.profile = options.profile;
  return result;
}

KernelImages compile_kernels(const Engine& engine, Backend& backend, const LoadOptions& options) {
  const auto progress = [&](int64_t done, int64_t total) {
    if (options.progress) options.progress("compile kernels", done, total);
  };
  Engine chosen = engine;  // for this backend's kernels; weights are views
  choose_kernels(chosen.plan, backend);
  return Program::compile_kernels(chosen, backend, program_options(options, chosen, backend),
                                  progress);
}

}  // namespace brayton
