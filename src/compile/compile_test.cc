// compile() runs every pass in order, reports each, and names tactics that the backend has.
#include "compile/compile.h"

#include <gtest/gtest.h>

#include "brayton/error.h"
#include "compile/plan/choose_kernels.h"
#include "testing/named_tactics.h"
#include "testing/pass_test.h"

namespace brayton {
namespace {

const std::string kLayer = testing::graph_text(R"(
  %0 = input {name="token_ids"} : i32[T]
  %1 = weight {name="table"} : bf16[16, 32]
  %2 = embedding(%0, %1) {dtype="bf16"} : bf16[T, 32]
  %3 = weight {name="norm"} : f32[32]
  %4 = rms_norm(%2, %3) {eps=1e-05} : bf16[T, 32]
  %5 = weight {name="q"} : q8_0[32, 32]
  %6 = weight {name="k"} : q8_0[16, 32]
  %7 = weight {name="v"} : q8_0[16, 32]
  %8 = linear(%4, %5) : bf16[T, 32]
  %9 = linear(%4, %6) : bf16[T, 16]
  %10 = linear(%4, %7) : bf16[T, 16]
  %11 = attention(%8, %9, %10) {head_dim=16, heads=2, kv_heads=1, layer=0, scale=0.25, softcap=0.0, window=0} : bf16[T, 32]
  %12 = add(%2, %11) : bf16[T, 32]
  %13 = rms_norm(%12, %3) {eps=1e-05} : bf16[T, 32]
  %14 = weight {name="gate"} : f32[48, 32]
  %15 = weight {name="up"} : f32[48, 32]
  %16 = linear(%13, %14) : bf16[T, 48]
  %17 = activation(%16) {kind="silu"} : bf16[T, 48]
  %18 = linear(%13, %15) : bf16[T, 48]
  %19 = mul(%17, %18) : bf16[T, 48]
  %20 = weight {name="down"} : bf16[32, 48]
  %21 = linear(%19, %20) : bf16[T, 32]
  return logits=%21)");

TEST(Compile, RunsThePassesAndNamesTactics) {
  Graph graph = parse_graph(kLayer);
  const testing::NamedTactics backend;
  CompileOptions options;
  std::vector<std::string> seen;
  options.after_pass = [&](const std::string& pass, const Graph& after) {
    after.verify();
    seen.push_back(pass);
  };
  CompileReport report;
  const Plan plan = compile(graph, backend, options, &report);

  ASSERT_EQ(report.passes.size(), pipeline().size());
  for (size_t i = 0; i < seen.size(); ++i) {
    EXPECT_EQ(seen[i], pipeline()[i].name);
    EXPECT_EQ(report.passes[i].pass, pipeline()[i].name);
  }
  EXPECT_EQ(report.passes.front().nodes_before, 22);
  EXPECT_EQ(report.passes.back().nodes_after, static_cast<int64_t>(graph.nodes().size()));

  std::vector<std::string> steps;
  for (const Instruction& step : plan.steps)
    steps.push_back(step.op + (step.tactic.empty() ? "" : " " + step.tactic));
  EXPECT_EQ(steps, (std::vector<std::string>{"embedding", "rms_norm", "linear q8_0[64, 32] bf16",
                                             "attention", "add_rms_norm", "linear f32[96, 32] bf16",
                                             "gated_activation", "linear bf16[32, 48] bf16"}));
}

TEST(ChooseKernels, KeepsATacticThatTheBackendHas) {
  Graph graph = parse_graph(kLayer);
  const testing::NamedTactics backend;
  Plan plan = compile(graph, backend, {});
  std::vector<Instruction*> linears;
  for (Instruction& step : plan.steps)
    if (step.op == "linear") linears.push_back(&step);
  linears[0]->tactic = "slow";  // NamedTactics' second
  linears[1]->tactic = "of another machine";
  choose_kernels(plan, backend);
  EXPECT_EQ(linears[0]->tactic, "slow");
  EXPECT_EQ(linears[1]->tactic, "f32[96, 32] bf16");

  linears[0]->inputs.resize(1);
  EXPECT_THROW(choose_kernels(plan, backend), Error);
}

}  // namespace
}  // namespace brayton
