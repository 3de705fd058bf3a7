// Every kernel that the steps of a model need compiles, without a GPU, for every architecture, and
// none spills, keeps arrays in memory or loses its tensor core pipeline.
#include <gtest/gtest.h>

#include <filesystem>

#include "backends/cuda/cuda_backend.h"
#include "builder/builder.h"
#include "program/program.h"
#include "tests/golden.h"

namespace brayton {
namespace {

// Published models: head sizes 64, 80 and 128, GQA and MHA, rotary positions, ALiBi, windows.
const char* const kModels[] = {"bloom-176b.json", "gpt_neox__redpajama-incite-7b.json",
                               "llama2-7b.json", "llama3-8b.json", "mistral-7b-instruct-v0.2.json"};
// The tiny families: learned positions, odd sizes, every activation.
const char* const kFamilies[] = {"bloom", "gpt2", "gpt_neox"};

struct Case {
  const char* arch;
  int64_t max_tokens;  // of a step: fewer need fewer kernels
};

class CompileGate : public testing::TestWithParam<Case> {};

void compile(const std::string& config, Backend& backend, int64_t max_tokens) {
  Engine engine = build_engine(config, backend, {.dtype = DType::kBF16, .dummy_weights = true});
  Program::compile_kernels(
      engine, backend,
      {.max_tokens = max_tokens, .max_sequences = 256, .max_logit_rows = 256, .kv_blocks = 4096});
}

TEST_P(CompileGate, NoKernelIsCompiledBadly) {
  const auto backend = make_cuda_backend(
      {.arch = GetParam().arch, .offline = true, .library_dirs = BRAYTON_NVRTC_FOLDER});
  for (const char* model : kModels)
    compile(data_path("configs/" + std::string(model)), *backend, GetParam().max_tokens);
  for (const char* family : kFamilies)
    compile(data_path("families/" + std::string(family) + "/config.json"), *backend,
            GetParam().max_tokens);
  const auto reports = kernel_reports(*backend);
  EXPECT_GT(reports.size(), 20u);
  for (const KernelReport& report : reports) {
    std::printf("%-8s %3d registers %6d bytes shared  %s\n", report.arch.c_str(), report.registers,
                report.shared_bytes, report.kernel.c_str());
    EXPECT_EQ(report.faults, "") << report.kernel << " for " << report.arch;
  }
}

INSTANTIATE_TEST_SUITE_P(Architectures, CompileGate,
                         testing::Values(Case{"sm_90a", 8192}, Case{"sm_80", 512},
                                         Case{"sm_86", 512}, Case{"sm_89", 512},
                                         Case{"sm_120", 512}),
                         [](const auto& info) { return std::string(info.param.arch); });

}  // namespace
}  // namespace brayton
