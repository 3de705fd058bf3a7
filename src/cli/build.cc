// brayton build MODEL -o FILE: checkpoint -> engine file.
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>

#include "builder/builder.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/progress_bar.h"
#include "core/format.h"
#include "core/json.h"
#include "llm/device.h"
#include "llm/load.h"

namespace brayton {
namespace {

struct BuildCommand {
  ModelOptions model;
  std::string output, dump_after;
  std::vector<std::string> archs;
};

void check_pass(const std::string& name) {
  std::string names;
  for (const Pass& pass : pipeline()) {
    if (pass.name == name) return;
    names += (names.empty() ? "" : ", ") + pass.name;
  }
  throw_error(ErrorCode::kInvalidArgument,
              "[command line] --dump-after must be one of {}, got '{}'", names, name);
}

Json to_json(const Engine& engine, const BuildReport& report, int64_t bytes) {
  Json passes = Json::array();
  for (const PassReport& pass : report.compile.passes)
    passes.push_back({{"pass", pass.pass},
                      {"nodes_before", pass.nodes_before},
                      {"nodes_after", pass.nodes_after},
                      {"milliseconds", pass.milliseconds}});
  std::map<std::string, int64_t> kernels;
  for (const Instruction& step : engine.plan.steps)
    ++kernels[step.tactic.empty() ? step.op : step.op + ": " + step.tactic];
  return {{"bytes", bytes},
          {"seconds", report.seconds},
          {"passes", passes},
          {"kernels", kernels},
          {"compiled_kernels", engine.kernels.size()},
          {"activation_bytes", report.compile.activation_bytes},
          {"activation_bytes_unshared", report.compile.activation_bytes_unshared}};
}

void build(const BuildCommand& o) {
  const LoadOptions load = load_options(o.model);
  const auto backend = open_device(load);
  BuildOptions options = build_options(load);
  if (!o.dump_after.empty()) {
    check_pass(o.dump_after);
    options.compile.after_pass = [&](const std::string& pass, const Graph& graph) {
      // With --json, stdout holds the one object only.
      if (pass == o.dump_after) std::fputs(print(graph).c_str(), o.model.json ? stderr : stdout);
    };
  }
  BuildReport report;
  Engine engine = build_engine(o.model.model, *backend, options, &report);
  const auto start = std::chrono::steady_clock::now();
  engine.kernels = compile_kernels(engine, *backend, load);
  for (const std::string& arch : o.archs)
    engine.kernels.merge(compile_kernels(engine, *open_architecture(arch, load), load));
  ProgressBar bar;
  write_engine(engine, o.output,
               [&](int64_t done, int64_t total) { bar.show("write engine", done, total); });
  report.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const auto bytes = static_cast<int64_t>(std::filesystem::file_size(o.output));
  if (o.model.json) {
    std::cout << to_json(engine, report, bytes).dump() << '\n';
    return;
  }
  for (const PassReport& pass : report.compile.passes)
    std::cerr << format("{:<24} {:5} -> {:5} nodes  {:7.2f} ms\n", pass.pass, pass.nodes_before,
                        pass.nodes_after, pass.milliseconds);
  std::cerr << format("activations of {} tokens: {:.1f} MB, laid out by lifetimes {:.1f} MB\n",
                      kReportedStep,
                      static_cast<double>(report.compile.activation_bytes_unshared) / 1e6,
                      static_cast<double>(report.compile.activation_bytes) / 1e6);
  std::cerr << format("{}: {:.1f} MB in {:.2f} s\n", o.output, static_cast<double>(bytes) / 1e6,
                      report.seconds);
}

}  // namespace

void add_build(CLI::App& app) {
  auto o = std::make_shared<BuildCommand>();
  CLI::App* command = app.add_subcommand("build", "Turn a checkpoint into one engine file");
  add_model_options(*command, o->model);
  command->add_option("-o,--output", o->output, "the engine file")->required()->type_name("FILE");
  command->add_option("--dump-after", o->dump_after, "print the graph after this pass")
      ->type_name("PASS");
  command
      ->add_option("--arch", o->archs,
                   "compile kernels for these GPU architectures too: sm_90a,sm_80,...")
      ->delimiter(',')
      ->type_name("ARCH");
  command->callback([o] { build(*o); });
}

}  // namespace brayton
