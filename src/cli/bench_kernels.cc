// brayton bench kernels.
#include "llm/bench_kernels.h"

#include <iostream>
#include <memory>

#include "cli/commands.h"
#include "cli/options.h"
#include "core/format.h"
#include "core/json.h"

namespace brayton {
namespace {

struct KernelOptions {
  LoadOptions load;
  std::string filter;
  bool json = false;
};

void bench_kernels_command(const KernelOptions& o) {
  const auto print = [&](const KernelTime& row) {
    std::cerr << format("{:<18} {:<26} {:9.2f} us {:8.1f} GB/s {:7.1f} TFLOP/s {:5.1f} %",
                        row.kernel, row.shape, row.us, row.bytes / row.us * 1e-3,
                        row.flops / row.us * 1e-6, 100 * row.share());
    if (row.library_us > 0) std::cerr << format("  {:5.2f} x library", row.library_us / row.us);
    std::cerr << '\n';
  };
  const KernelBench result = bench_kernels(o.load, o.filter, print);
  std::cerr << format("{}: reads {:.0f} GB/s, multiplies at {:.0f} TFLOP/s\n", result.device,
                      result.read_bandwidth * 1e-9, result.matrix_rate * 1e-12);
  if (!o.json) return;
  Json rows = Json::array();
  for (const KernelTime& row : result.rows)
    rows.push_back({{"kernel", row.kernel},
                    {"shape", row.shape},
                    {"us", row.us},
                    {"bytes", row.bytes},
                    {"flops", row.flops},
                    {"library_us", row.library_us},
                    {"bound_us", row.bound_us},
                    {"share", row.share()}});
  std::cout << Json{{"device", result.device},
                    {"read_bandwidth", result.read_bandwidth},
                    {"matrix_rate", result.matrix_rate},
                    {"rows", rows}}
                   .dump()
            << '\n';
}

}  // namespace

void add_bench_kernels(CLI::App& bench) {
  auto kernels = std::make_shared<KernelOptions>();
  CLI::App* each = bench.add_subcommand("kernels", "Every kernel over LLaMA-3.1-8B's shapes");
  add_device_options(*each, kernels->load);
  each->add_option("--filter", kernels->filter, "only rows that match, e.g. 'linear (1|64) x'")
      ->type_name("REGEX");
  each->add_flag("--json", kernels->json, "print one JSON object on stdout");
  each->callback([kernels] {
    set_cache_folders(kernels->load);
    bench_kernels_command(*kernels);
  });
}

}  // namespace brayton
