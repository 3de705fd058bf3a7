#include "cli/options.h"

#include <cstdlib>
#include <memory>

#include "cli/progress_bar.h"
#include "core/format.h"

namespace brayton {

void add_device_options(CLI::App& command, LoadOptions& load) {
  command.add_option("--device", load.device,
                     "cpu, cuda or cuda:N (default: a GPU if there is one)");
  command.add_option("--threads", load.threads, "CPU threads (default: all cores)");
  command.add_option("--cpu", load.cpu_level,
                     "instruction set: baseline, sse42, avx2 or avx512 (default: the best here)");
  command.add_flag("--portable-kernels", load.portable_kernels,
                   "on a GPU, only what every one since Ampere has");
}

void add_model_options(CLI::App& command, ModelOptions& o) {
  command.add_option("model", o.model, "Hugging Face folder, GGUF file or engine file")
      ->required()
      ->type_name("MODEL");
  add_device_options(command, o.load);
  command
      .add_option("--dtype", o.dtype,
                  "type of activations and cache: float32, bfloat16 or float16 (default: the "
                  "checkpoint's)")
      ->check(CLI::IsMember({"float32", "bfloat16", "float16"}));
  command
      .add_option("--load-format", o.load_format,
                  "auto, or dummy: random weights for a bare config.json")
      ->check(CLI::IsMember({"auto", "dummy"}));
  command.add_option("--max-batch-size", o.load.max_batch_size, "sequences in flight");
  command.add_option("--max-num-tokens", o.load.max_num_tokens, "tokens of a step");
  command.add_option("--kv-block-size", o.load.kv_block_size, "tokens of a cache block");
  command.add_option("--kv-bytes", o.load.kv_bytes,
                     "size of the KV cache (0: what the batch needs)");
  command
      .add_option("--memory-fraction", o.load.memory_fraction,
                  "share of a GPU's free memory to use")
      ->capture_default_str();
  command.add_flag("--json", o.json, "print one JSON object on stdout");
}

namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

// Where compiled kernels and fetched CUDA libraries lie.
std::string cache_dir() {
  const std::string base = environment("XDG_CACHE_HOME");
  if (!base.empty()) return base + "/brayton";
  const std::string home = environment("HOME");
  return home.empty() ? "" : home + "/.cache/brayton";
}

std::string library_dirs(const std::string& cache) {
  std::string dirs;
  const auto add = [&](const std::string& dir) { dirs += (dirs.empty() ? "" : ":") + dir; };
  if (const std::string cuda = environment("CUDA_HOME"); !cuda.empty()) add(cuda + "/lib64");
  if (!cache.empty()) add(cache + "/cuda-13.0/lib");
  add("/usr/local/cuda/lib64");
  return dirs;
}

}  // namespace

void set_cache_folders(LoadOptions& load) {
  const std::string cache = cache_dir();
  load.cache_dir = cache.empty() ? "" : cache + "/kernels";
  load.library_dirs = library_dirs(cache);
}

LoadOptions load_options(const ModelOptions& options) {
  LoadOptions load = options.load;
  set_cache_folders(load);
  if (options.dtype == "float32") load.dtype = DType::kF32;
  if (options.dtype == "bfloat16") load.dtype = DType::kBF16;
  if (options.dtype == "float16") load.dtype = DType::kF16;
  load.dummy_weights = options.load_format == "dummy";
  load.progress = [bar = std::make_shared<ProgressBar>()](const std::string& stage, int64_t done,
                                                          int64_t total) {
    bar->show(stage, done, total);
  };
  return load;
}

}  // namespace brayton
