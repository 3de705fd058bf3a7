// Which tactics a layer has, and which one is taken: by measurements, those of earlier processes
// included, and once in a process.
#include "backends/cuda/kernels/gemm/linear_tuner.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "backends/cuda/kernels/gemm/linear_timer.h"
#include "core/format.h"

namespace brayton::cuda {
namespace {

namespace fs = std::filesystem;
using Kernel = LinearKernel;

DeviceInfo h100() { return {.hopper = true}; }
DeviceInfo a100() {
  return {
      .capability = 80, .hopper = false, .multiprocessors = 108, .shared_per_block = 163 * 1024};
}

LinearKey key(int64_t rows, int64_t n = 6144, int64_t k = 4096) {
  return {.n = n, .k = k, .rows = rows};
}
LinearKey gated(int64_t rows) {
  LinearKey result = key(rows, 28672);
  result.gated = true;
  result.activation = ActivationKind::kSilu;
  return result;
}

bool has(const std::vector<LinearTactic>& tactics, Kernel kernel) {
  return std::ranges::find(tactics, kernel, &LinearTactic::kernel) != tactics.end();
}

TEST(LinearRowBuckets, EveryNumberStandsForTheNext) {
  EXPECT_TRUE(std::ranges::is_sorted(linear_row_buckets()));
  for (const int64_t rows : linear_row_buckets()) EXPECT_EQ(linear_row_bucket(rows), rows);
  EXPECT_EQ(linear_row_bucket(5), 8);
  EXPECT_EQ(linear_row_bucket(65), 96);
  EXPECT_EQ(linear_row_bucket(4097), 6144);
  EXPECT_EQ(linear_row_bucket(1 << 20), 8192);
  // So that one choice of tiles is right for the whole bucket.
  for (const int64_t rows : gemm_row_buckets()) EXPECT_EQ(linear_row_bucket(rows), rows);
}

TEST(LinearCandidates, TheFirstIsTheModelsChoice) {
  for (const DeviceInfo& device : {h100(), a100()})
    for (const int64_t rows : linear_row_buckets())
      for (const LinearKey& layer : {key(rows), gated(rows), key(rows, 50257, 768)}) {
        SCOPED_TRACE(layer.str());
        const auto tactics = linear_candidates(layer, device, true);
        ASSERT_FALSE(tactics.empty());
        EXPECT_EQ(tactics[0].kernel, choose_linear({.rows = rows,
                                                    .outputs = layer.outputs(),
                                                    .columns = layer.k,
                                                    .gated = layer.gated},
                                                   device));
        if (tactics[0].kernel == Kernel::kGemmHopper) {
          EXPECT_EQ(tactics[0].gemm, choose_gemm({rows, layer.n, layer.k, layer.gated}, device));
        }
        for (size_t i = 0; i < tactics.size(); ++i)
          EXPECT_EQ(std::ranges::count(tactics, tactics[i]), 1) << tactics[i].str();
        EXPECT_LE(tactics.size(), 8u);
      }
}

TEST(LinearCandidates, ByRows) {
  const auto of = [](int64_t rows) { return linear_candidates(key(rows), h100(), true); };
  EXPECT_TRUE(has(of(4), Kernel::kGemv) && has(of(4), Kernel::kSkinny));
  EXPECT_FALSE(has(of(4), Kernel::kGemmHopper));
  EXPECT_FALSE(has(of(8), Kernel::kGemv));
  for (const int64_t rows : {8, 32, 64})
    EXPECT_TRUE(has(of(rows), Kernel::kSkinny) && has(of(rows), Kernel::kGemmHopper));
  EXPECT_FALSE(has(of(96), Kernel::kSkinny));
  EXPECT_TRUE(has(linear_candidates(key(96), a100(), true), Kernel::kGemm));
}

TEST(LinearCandidates, TheLibraryIsForPlainLayersAndComesLast) {
  const auto library = [](const LinearKey& layer, bool there = true) {
    const auto tactics = linear_candidates(layer, h100(), there);
    return has(tactics, Kernel::kCublasLt) && tactics.back().kernel == Kernel::kCublasLt;
  };
  for (const int64_t rows : {1, 64, 4096}) {
    EXPECT_TRUE(library(key(rows)));
    EXPECT_FALSE(library(key(rows), false));
    EXPECT_FALSE(library(gated(rows)));
    LinearKey other = key(rows);
    other.bias = true;
    EXPECT_FALSE(library(other));
    other = key(rows);
    other.activation = ActivationKind::kGelu;
    EXPECT_FALSE(library(other));
    other = key(rows);
    other.y_aligned = false;
    EXPECT_FALSE(library(other));
    EXPECT_FALSE(library(key(rows, 50257, 768)));
  }
}

TEST(LinearCandidates, OneWhereMeasuringGainsNothing) {
  EXPECT_EQ(linear_candidates(key(16, 576, 576), h100(), true).size(), 1u);  // small
  LinearKey oracle = key(16);
  oracle.dtype = DType::kF32;
  EXPECT_EQ(linear_candidates(oracle, h100(), true), std::vector{LinearTactic{Kernel::kSimple}});
  LinearKey unaligned = key(16);
  unaligned.x_aligned = false;
  EXPECT_EQ(linear_candidates(unaligned, h100(), true), std::vector{LinearTactic{Kernel::kSimple}});
}

TEST(LinearTactics, TextsTellThemApart) {
  std::vector<std::string> texts;
  for (LinearKey layer : {key(64), key(96), key(64, 4096), gated(64)}) {
    texts.push_back(layer.str());
    layer.bias = true;
    texts.push_back(layer.str());
    layer.dtype = DType::kF16;
    texts.push_back(layer.str());
    layer.y_aligned = false;
    texts.push_back(layer.str());
    layer.x_aligned = false;
    texts.push_back(layer.str());
    layer.activation = ActivationKind::kRelu;
    texts.push_back(layer.str());
  }
  for (const LinearTactic& tactic : linear_candidates(key(64), h100(), true))
    texts.push_back(tactic.str());
  std::ranges::sort(texts);
  EXPECT_EQ(std::ranges::adjacent_find(texts), texts.end());
  EXPECT_EQ(gated(64).str(), "bf16 28672x4096 gated silu rows 64");
}

TEST(LinearTactics, OtherChoicesHaveAnotherHash) {
  DeviceInfo smaller = h100();
  smaller.shared_per_block = 99 * 1024;
  EXPECT_EQ(linear_choices_hash(h100()), linear_choices_hash(h100()));
  EXPECT_NE(linear_choices_hash(h100()), linear_choices_hash(a100()));
  EXPECT_NE(linear_choices_hash(h100()), linear_choices_hash(smaller));
}

TEST(ChooseByTimes, OnlyAClearGainCounts) {
  const auto choose = [](std::vector<double> times) { return choose_by_times(times); };
  EXPECT_EQ(choose({10}), 0u);
  EXPECT_EQ(choose({10, 9.9, 9.85}), 0u);
  EXPECT_EQ(choose({10, 9.9, 9.7, 9.8}), 2u);
  EXPECT_EQ(choose({10, HUGE_VAL}), 0u);
  EXPECT_EQ(choose({HUGE_VAL, 12, 11}), 2u);  // far slower than another at first sight
}

TEST(Race, MedianOfEveryoneButTheHopeless) {
  std::vector<std::vector<double>> times{{9, 10, 30, 11}, {20}, {13, 8, 9, 7}, {HUGE_VAL}};
  std::vector<size_t> at(times.size()), order;
  const auto result = race(times.size(), 3, [&](size_t i) {
    order.push_back(i);
    return times[i].at(at[i]++);
  });
  EXPECT_EQ(result, (std::vector<double>{11, HUGE_VAL, 8, HUGE_VAL}));
  EXPECT_EQ(order, (std::vector<size_t>{0, 1, 2, 3, 0, 2, 0, 2, 0, 2}));
}

class LinearTunerTest : public testing::Test {
 protected:
  LinearTunerTest() {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(testing::TempDir()) / format("linear_tuner_{}_{}", ::getpid(), test->name());
  }
  ~LinearTunerTest() override { fs::remove_all(folder_); }

  // A process of its own, without cuBLASLt.
  struct Process {
    explicit Process(const std::string& folder)
        : cache(folder, {"NVIDIA H100", 13000, 1}), tuner(device, cache, [this] {
            ++asked;
            return nullptr;
          }) {}
    int asked = 0;
    DeviceInfo device = h100();
    TimingCache cache;
    LinearTuner tuner;
  };
  // Times that make `winner` the fastest.
  static std::vector<double> times(const LinearTuner::Layer& layer, size_t winner) {
    std::vector<double> result(layer.candidates.size(), 20.0);
    result.at(winner) = 10.0;
    return result;
  }
  std::string folder() const { return folder_.string(); }

  fs::path folder_;
};

TEST_F(LinearTunerTest, MeasuresWhatWasPlannedOnce) {
  Process process("");
  LinearTuner& tuner = process.tuner;
  EXPECT_EQ(tuner.find(key(64)), std::nullopt);
  EXPECT_TRUE(tuner.wanted().empty());  // it was not planned
  EXPECT_GT(tuner.plan(key(64), 50).size(), 2u);
  tuner.plan(key(64), 60);
  tuner.plan(key(64), 55);
  tuner.plan(gated(1), 1);
  EXPECT_EQ(tuner.plan(key(16, 576, 576), 16).size(), 1u);
  const auto wanted = tuner.wanted();
  ASSERT_EQ(wanted.size(), 2u);
  EXPECT_EQ(wanted[0].key, key(64));
  EXPECT_EQ(wanted[0].rows, 60);
  EXPECT_EQ(wanted[1].key, gated(1));
  EXPECT_FALSE(has(wanted[0].candidates, Kernel::kCublasLt));

  tuner.decide(wanted[0], times(wanted[0], 2));
  tuner.decide(wanted[1], {});
  EXPECT_EQ(tuner.find(key(64)), wanted[0].candidates[2]);
  EXPECT_EQ(tuner.find(gated(1)), wanted[1].candidates[0]);
  EXPECT_EQ(tuner.plan(key(64), 64), std::vector{wanted[0].candidates[2]});
  EXPECT_TRUE(tuner.wanted().empty());
  // A program's choice stays.
  tuner.decide(wanted[0], times(wanted[0], 1));
  EXPECT_EQ(tuner.find(key(64)), wanted[0].candidates[2]);
}

TEST_F(LinearTunerTest, AnotherProcessMeasuresNothing) {
  LinearTactic chosen;
  {
    Process process(folder());
    process.tuner.plan(key(256), 256);
    process.tuner.plan(gated(256), 256);
    const auto wanted = process.tuner.wanted();
    process.tuner.decide(wanted.at(0), times(wanted[0], 3));
    process.tuner.decide(wanted.at(1), {});  // could not be measured: is not remembered
    chosen = wanted[0].candidates[3];
    process.cache.save();
  }
  Process process(folder());
  EXPECT_EQ(process.tuner.find(key(256)), chosen);
  EXPECT_EQ(process.tuner.plan(key(256), 200), std::vector{chosen});
  EXPECT_TRUE(process.tuner.wanted().empty());
  EXPECT_TRUE(process.tuner.take_unloaded().empty());
  EXPECT_EQ(process.asked, 0);  // the library stays closed
  process.tuner.plan(gated(256), 256);
  EXPECT_EQ(process.tuner.wanted().size(), 1u);
}

TEST_F(LinearTunerTest, WhatIsNoCandidateIsMeasuredAgain) {
  for (const std::string tactic :
       {"cublaslt", "gemm_hopper 128x256 cluster 9x9 splits 1 stages 4 chunk 64", "magic"}) {
    Process process("");
    process.cache.put(key(256).str(), tactic, {});
    EXPECT_EQ(process.tuner.find(key(256)), std::nullopt);
    process.tuner.plan(key(256), 256);
    EXPECT_EQ(process.tuner.wanted().size(), 1u) << tactic;
  }
}

TEST_F(LinearTunerTest, TheLibrarysKernelsAreLoadedOnce) {
  const DeviceInfo device = h100();
  TimingCache cache("", {"NVIDIA H100", 13000, 1});
  cache.put(key(256).str(), "cublaslt", {});
  auto* const library = reinterpret_cast<CublasLt*>(&cache);  // nothing looks at it
  LinearTuner tuner(device, cache, [&] { return library; });
  const LinearTactic tactic{Kernel::kCublasLt};
  EXPECT_EQ(tuner.find(key(256)), tactic);
  EXPECT_TRUE(tuner.take_unloaded().empty());
  EXPECT_EQ(tuner.plan(key(256), 256), std::vector{tactic});
  ASSERT_EQ(tuner.take_unloaded().size(), 1u);
  tuner.plan(key(256), 256);
  EXPECT_TRUE(tuner.take_unloaded().empty());
  EXPECT_TRUE(tuner.wanted().empty());
}

}  // namespace
}  // namespace brayton::cuda
