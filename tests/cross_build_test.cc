// Without a GPU: an engine is built for one, with its kernels in the file; a plan that does not fit
// the device's memory says what to shrink.
#include <gtest/gtest.h>

#include <filesystem>
#include <random>

#include "backends/cuda/cuda_backend.h"
#include "builder/builder.h"
#include "program/program.h"
#include "tests/golden.h"

namespace brayton {
namespace {

std::unique_ptr<Backend> offline(const std::string& arch) {
  return make_cuda_backend({.arch = arch, .offline = true, .library_dirs = BRAYTON_NVRTC_FOLDER});
}

constexpr ProgramOptions kOptions{
    .max_tokens = 64, .max_sequences = 8, .max_logit_rows = 8, .kv_blocks = 64};

TEST(CrossBuild, AnEngineFileCarriesItsKernels) {
  const auto backend = offline("sm_90a");
  Engine engine = build_engine(data_path("novel-2m"), *backend, {});
  engine.kernels = Program::compile_kernels(engine, *backend, kOptions);
  EXPECT_GT(engine.kernels.size(), 10u);
  const auto path = std::filesystem::temp_directory_path() /
                    ("brayton-cross-" + std::to_string(std::random_device()()) + ".engine");
  write_engine(engine, path);
  Engine opened = open_engine(path);
  std::filesystem::remove(path);
  EXPECT_EQ(opened.kernels, engine.kernels);

  // Another backend of that architecture takes them all and needs no compiler.
  const auto other = make_cuda_backend({.arch = "sm_90a", .offline = true});
  other->add_kernel_images(opened.kernels);
  EXPECT_EQ(Program::compile_kernels(opened, *other, kOptions).size(), engine.kernels.size());
  // One of another architecture takes none.
  const auto ampere = offline("sm_80");
  ampere->add_kernel_images(opened.kernels);
  for (const auto& [key, image] : Program::compile_kernels(opened, *ampere, kOptions))
    EXPECT_TRUE(key.starts_with("sm_80 ")) << key;
}

TEST(CrossBuild, AnUnknownArchitectureIsRefused) {
  try {
    offline("sm_70");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "[cuda] the architecture must be one of sm_80, sm_86, sm_89, sm_90a, sm_120, "
                 "compute_80, got 'sm_70'");
  }
}

TEST(MemoryPlan, WhatDoesNotFitIsNamedWithTheRemedy) {
  const auto backend = offline("sm_90a");  // plans for 80 GiB
  const Engine engine = build_engine(data_path("configs/llama3-70b.json"), *backend,
                                     {.dtype = DType::kBF16, .dummy_weights = true});
  const auto error = [&](const Engine& e, const ProgramOptions& options) -> std::string {
    try {
      Program::plan_memory(e, *backend, options);
    } catch (const Error& fault) {
      EXPECT_EQ(fault.code(), ErrorCode::kResourceExhausted);
      return fault.what();
    }
    return "";
  };
  EXPECT_NE(error(engine, {}).find("must leave room for the cache in 73728 MiB"), std::string::npos)
      << error(engine, {});
  const Engine small = build_engine(data_path("novel-2m"), *backend, {});
  const std::string message = error(small, {.kv_bytes = int64_t{100} << 30});
  EXPECT_NE(message.find("shrink the cache by"), std::string::npos) << message;
  EXPECT_NE(message.find("--kv-bytes"), std::string::npos) << message;
  EXPECT_EQ(error(small, {}), "");
}

}  // namespace
}  // namespace brayton
