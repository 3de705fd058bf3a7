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

// MODEL, --device, --dtype, --threads, --cpu, --load-format, limits of the batch, --json.
void add_model_options(CLI::App& command, ModelOptions& options);

// The LoadOptions they mean; with a progress bar when stderr is a terminal.
LoadOptions load_options(const ModelOptions& options);

void add_sampling_options(CLI::App& command, SamplingParams& params);

// "1,2,3" -> ids. Throws Error(kInvalidArgument) naming the option and the text.
std::vector<int32_t> parse_ids(const std::string& text, const std::string& option);

}  // namespace brayton
