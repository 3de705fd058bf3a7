// A model, from a path to text.
//
//   brayton::LLM llm("SmolLM2-135M-Instruct.Q4_1.gguf");
//   std::cout << llm.generate("Gravity is").text;
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "brayton/dtype.h"
#include "brayton/executor.h"
#include "brayton/request.h"

namespace brayton {

struct LoadOptions {
  std::string device = "auto";    // "cpu", "cuda", "cuda:N"; auto: a GPU if there is one
  std::optional<DType> dtype;     // f32, bf16, f16; absent: the checkpoint's
  int threads = 0;                // CPU threads; 0: the cores of this process
  std::string cpu_level;          // "baseline", "sse42", "avx2", "avx512"; empty: the best here
  bool dummy_weights = false;     // random weights for a bare config.json
  int64_t max_batch_size = 0;     // sequences in flight; 0: 64 on a CPU, 256 on a GPU
  int64_t max_num_tokens = 0;     // packed tokens of a step; 0: 512 on a CPU, 8192 on a GPU
  int64_t max_seq_len = 0;        // longest sequence; 0: the model's
  int64_t kv_block_size = 64;     // tokens
  int64_t kv_bytes = 0;           // 0: what the batch needs; on a CPU at most 1 GiB
  double memory_fraction = 0.9;   // of a GPU's free memory, for everything
  bool profile = false;           // measure each op's time
  std::string cache_dir;          // of kernels compiled for a GPU; empty: none
  std::string library_dirs;       // where NVRTC and cuBLASLt may lie, separated by ':'
  bool portable_kernels = false;  // on a GPU only what every one since Ampere has
  // What is being done ("load weights"), how much of it, of how much. May be empty.
  std::function<void(const std::string& stage, int64_t done, int64_t total)> progress;
};

// A piece of a streamed answer.
struct TextChunk {
  std::string text;                 // valid UTF-8, may be empty
  std::vector<TokenOutput> tokens;  // those that came with it
};

struct Completion {
  std::vector<int32_t> prompt_token_ids;
  std::vector<TokenOutput> tokens;
  std::string text;
  FinishReason finish_reason = FinishReason::kNone;
  double ttft_ms = 0;       // from the call to the first token
  double decode_tok_s = 0;  // tokens after the first, per second
};

struct Score {
  std::vector<float> nll;          // [ids - 1]: -log p(ids[i + 1] | ids[0..i])
  std::vector<float> last_logits;  // [vocab] after the last id
};

// Thread-safe: calls from several threads share the batch.
class LLM {
 public:
  // MODEL: a Hugging Face folder, a GGUF file or an engine file.
  // Throws Error naming the file, the fault and the remedy.
  explicit LLM(const std::string& model, const LoadOptions& options = {});
  ~LLM();
  LLM(LLM&&) noexcept;

  std::vector<int32_t> encode(const std::string& text, bool add_special = true) const;
  std::string decode(const std::vector<int32_t>& ids, bool skip_special = true) const;
  // The prompt text of a conversation, by the model's chat template.
  std::string apply_chat_template(const std::vector<ChatMessage>& messages) const;

  // The model's own generation defaults.
  SamplingParams default_sampling() const;

  // `on_chunk` streams the text; return false to cancel. The text ends before a stop string.
  using OnChunk = std::function<bool(const TextChunk&)>;
  Completion generate(const std::string& prompt, const SamplingParams& params = {},
                      const OnChunk& on_chunk = {});
  Completion generate(const std::vector<int32_t>& prompt, const SamplingParams& params = {},
                      const OnChunk& on_chunk = {});
  Completion chat(const std::vector<ChatMessage>& messages, const SamplingParams& params = {},
                  const OnChunk& on_chunk = {});
  // Log-likelihood of given ids.
  Score score(const std::vector<int32_t>& ids);

  std::string device() const;
  double load_seconds() const;
  int64_t vocab_size() const;
  int64_t max_positions() const;  // longest sequence
  Executor& executor();
  // Bytes that a decode step must read: the weights once, `context` cached tokens of each sequence.
  int64_t decode_read_bytes(int64_t batch, int64_t context) const;
  double measure_read_bandwidth() const;  // of the device's memory, bytes/s, measured now
  // Seconds by op since the last call, the largest first; empty without LoadOptions::profile.
  // To be called while no request is in flight.
  std::vector<std::pair<std::string, double>> take_profile();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Family, shapes, types, tensors, memory plan and kernel tactics of a model, as a JSON object.
// Reads no weights. Throws as LLM does.
std::string inspect_json(const std::string& model, const LoadOptions& options = {});

}  // namespace brayton
