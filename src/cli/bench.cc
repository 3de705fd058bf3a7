// brayton bench latency|throughput MODEL.
#include "llm/bench.h"

#include <iostream>
#include <memory>

#include "cli/commands.h"
#include "cli/options.h"
#include "core/format.h"
#include "core/json.h"

namespace brayton {
namespace {

struct BenchOptions {
  ModelOptions model;
  int64_t batch = 1, requests = 16, input = 128, output = 128, repeats = 0;
  std::string dataset;
  bool profile = false;
};

Json to_json(const Percentiles& p) { return {{"p50", p.p50}, {"p99", p.p99}}; }

void positive(const char* name, int64_t value) {
  if (value < 1)
    throw_error(ErrorCode::kInvalidArgument, "[command line] {} must be at least 1, got {}", name,
                value);
}

LLM load(const BenchOptions& o) {
  LoadOptions options = load_options(o.model);
  constexpr int64_t kLeastDefault = 64;  // sequences in flight on every device
  if (options.max_batch_size > 0 || o.batch > kLeastDefault)
    options.max_batch_size = std::max(options.max_batch_size, o.batch);
  options.profile = o.profile;
  return LLM(o.model.model, options);
}

void print_profile(LLM& llm) {
  const auto profile = llm.take_profile();
  double total = 0;
  for (const auto& [op, seconds] : profile) total += seconds;
  for (const auto& [op, seconds] : profile)
    std::cerr << format("  {:<18} {:9.2f} ms  {:5.1f} %\n", op, seconds * 1e3,
                        100 * seconds / total);
}

void bench_latency_command(const BenchOptions& o) {
  positive("--batch", o.batch);
  positive("--input", o.input);
  positive("--output", o.output);
  LLM llm = load(o);
  const LatencyReport report = bench_latency(llm, o.batch, o.input, o.output, o.repeats);
  if (o.profile) print_profile(llm);
  if (o.model.json)
    std::cout << Json{{"ttft_ms", report.ttft_ms},
                      {"ttft_median_ms", report.ttft_median_ms},
                      {"ttft_least_ms", report.ttft_least_ms},
                      {"itl_ms", to_json(report.itl_ms)},
                      {"step_ms", to_json(report.step_ms)},
                      {"decode_tok_s", report.decode_tok_s},
                      {"floor_ms", report.floor_ms},
                      {"fraction_of_floor", report.fraction_of_floor},
                      {"read_bandwidth_gb_s", report.read_bandwidth / 1e9},
                      {"batch", o.batch},
                      {"input", o.input},
                      {"output", o.output},
                      {"device", llm.device()}}
                     .dump()
              << '\n';
  else
    std::cout << format(
        "batch {} of {} + {} tokens on {}\n"
        "first token {:.1f} ms ({:.0f} prompt tok/s), between tokens {:.2f} ms p50 {:.2f} ms p99, "
        "decode step {:.2f} ms\n"
        "decode {:.1f} tok/s, {:.0f} % of the floor at {:.1f} GB/s read bandwidth\n",
        o.batch, o.input, o.output, llm.device(), report.ttft_median_ms,
        static_cast<double>(o.batch * o.input) / report.ttft_median_ms * 1e3, report.itl_ms.p50,
        report.itl_ms.p99, report.step_ms.p50, report.decode_tok_s, 100 * report.fraction_of_floor,
        report.read_bandwidth / 1e9);
}

void bench_throughput_command(const BenchOptions& o) {
  positive("--requests", o.requests);
  positive("--input", o.input);
  positive("--output", o.output);
  LLM llm = load(o);
  const auto requests = o.dataset.empty() ? random_requests(llm, o.requests, o.input, o.output, 1)
                                          : dataset_requests(llm, o.dataset, o.requests, o.output);
  const ThroughputReport report = bench_throughput(llm, requests);
  if (o.profile) print_profile(llm);
  if (o.model.json)
    std::cout << Json{{"requests", report.requests},
                      {"seconds", report.seconds},
                      {"output_tok_s", report.output_tok_s},
                      {"total_tok_s", report.total_tok_s},
                      {"steps", report.steps},
                      {"host_us_per_step", to_json(report.host_us_per_step)},
                      {"device", llm.device()}}
                     .dump()
              << '\n';
  else
    std::cout << format(
        "{} requests in {:.2f} s on {}: {:.1f} output tok/s, {:.1f} tok/s in all\n"
        "{} steps, host work {:.0f} us p50 {:.0f} us p99 a step\n",
        report.requests, report.seconds, llm.device(), report.output_tok_s, report.total_tok_s,
        report.steps, report.host_us_per_step.p50, report.host_us_per_step.p99);
}

}  // namespace

void add_bench(CLI::App& app) {
  CLI::App* bench = app.add_subcommand("bench", "Measure speed");
  bench->require_subcommand(1);

  auto latency = std::make_shared<BenchOptions>();
  CLI::App* one = bench->add_subcommand("latency", "One batch from start to end, random ids");
  add_model_options(*one, latency->model);
  one->add_option("--batch", latency->batch, "sequences")->capture_default_str();
  one->add_option("--input", latency->input, "prompt tokens of each")->capture_default_str();
  one->add_option("--output", latency->output, "new tokens of each")->capture_default_str();
  one->add_option("--repeats", latency->repeats, "more runs for the median time to first token")
      ->check(CLI::NonNegativeNumber);
  one->add_flag("--profile", latency->profile, "print the time of each op on stderr");
  one->callback([latency] { bench_latency_command(*latency); });

  auto all = std::make_shared<BenchOptions>();
  CLI::App* many = bench->add_subcommand("throughput", "All requests at once through the executor");
  add_model_options(*many, all->model);
  many->add_option("--requests", all->requests, "requests")->capture_default_str();
  many->add_option("--input", all->input, "prompt tokens of each")->capture_default_str();
  many->add_option("--output", all->output, "new tokens of each")->capture_default_str();
  many->add_option("--dataset", all->dataset, "take prompts from this JSON or JSON-lines file")
      ->type_name("FILE");
  many->add_flag("--profile", all->profile, "print the time of each op on stderr");
  many->callback([all] { bench_throughput_command(*all); });
  add_bench_kernels(*bench);
}

}  // namespace brayton
