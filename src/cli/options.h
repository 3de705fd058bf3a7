// Options that several commands share.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "brayton/llm.h"

namespace brayton {

struct ModelOptions {
  std::string model;
  LoadOptions load;
  std::string dtype;        // as on the command line
  std::string load_format;  // "auto", "dummy"
  bool json = false;
};

// --device, --threads, --cpu, --portable-kernels.
void add_device_options(CLI::App& command, LoadOptions& load);
// Where compiled kernels and CUDA's libraries lie, by the environment.
void set_cache_folders(LoadOptions& load);
// The device's options, MODEL, --dtype, --load-format, limits of the batch, --json.
void add_model_options(CLI::App& command, ModelOptions& options);

// The LoadOptions they mean; with a progress bar when stderr is a terminal.
LoadOptions load_options(const ModelOptions& options);

void add_sampling_options(CLI::App& command, SamplingParams& params);

// "1,2,3" -> ids. Throws Error(kInvalidArgument) naming the option and the text.
std::vector<int32_t> parse_ids(const std::string& text, const std::string& option);

}  // namespace brayton
