// The commands of the binary: each adds itself to the program's command line.
#pragma once

#include <CLI/CLI.hpp>

namespace brayton {

// The callback runs the command; it throws Error.
void add_run(CLI::App& app);
void add_build(CLI::App& app);
void add_inspect(CLI::App& app);
void add_eval(CLI::App& app);
void add_bench(CLI::App& app);
void add_bench_kernels(CLI::App& bench);

}  // namespace brayton
