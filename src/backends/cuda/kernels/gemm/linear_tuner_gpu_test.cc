// Choosing linear kernels by measurement: every tactic gives the right result, plans are tuned
// without keeping memory, and what one backend has measured another need not.
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "backends/cuda/jit/timing_cache.h"
#include "backends/cuda/kernels/gemm/linear_tactics.h"
#include "backends/cuda/kernels/gemm/linear_tuner.h"
#include "backends/cuda/kernels/gpu_test.h"
#include "backends/cuda/libraries/cublaslt.h"
#include "backends/cuda/packed_linear.h"
#include "core/json.h"
#include "ops/quant_blocks.h"

namespace brayton::cuda {
namespace {

namespace fs = std::filesystem;
using testing::Tensor;

// 4 MiB of weights each: the least that is measured.
struct Layer {
  int64_t n, k;
  bool gated;
};
constexpr Layer kLayers[] = {{1024, 2048, false}, {4096, 512, true}};
constexpr int64_t kRows[] = {1, 3, 8, 20, 64, 96, 250};

class LinearTunerGpuTest : public ::testing::Test {
 protected:
  LinearTunerGpuTest()
      : folder_(fs::path(::testing::TempDir()) / format("linear_tuner_gpu_{}", ::getpid())) {}
  ~LinearTunerGpuTest() override { fs::remove_all(folder_); }

  std::unique_ptr<Backend> open(bool tune = true) const {
    CudaOptions options;
    options.tune = tune;
    options.cache_dir = folder_.string();
    options.library_dirs = BRAYTON_NVRTC_FOLDER;
    return make_cuda_backend(options);
  }

  // A layer on both sides.
  struct Loaded {
    Layer layer;
    Tensor w, x;
    std::unique_ptr<PackedWeight> packed;
    std::unique_ptr<DeviceTensor> device_x;
  };
  Loaded load(Backend& backend, Stream& stream, const Layer& layer, int64_t rows) {
    Loaded loaded{.layer = layer};
    loaded.w = testing::normal_tensor(DType::kBF16, {layer.n, layer.k}, random_,
                                      1.0f / std::sqrt(static_cast<float>(layer.k)));
    loaded.x = testing::normal_tensor(DType::kBF16, {rows, layer.k}, random_);
    loaded.packed = backend.pack_linear(stream, loaded.w, "bf16");
    loaded.device_x = std::make_unique<DeviceTensor>(backend, loaded.x);
    return loaded;
  }
  static LinearArgs args_of(const Loaded& loaded, const TensorView& x, const TensorView& y) {
    LinearArgs args;
    args.x = x;
    args.y = y;
    args.packed = loaded.packed.get();
    args.gated = loaded.layer.gated;
    if (loaded.layer.gated) args.activation = ActivationKind::kSilu;
    return args;
  }

  // Against sums in double, at the corners and at random.
  void expect_right(const Loaded& loaded, const Tensor& y) {
    const int64_t rows = y.view().dim(0), outputs = y.view().dim(1), k = loaded.layer.k;
    std::vector<float> x(static_cast<size_t>(k)), w(static_cast<size_t>(k));
    int wrong = 0;
    for (int i = 0; i < 200 && wrong < 3; ++i) {
      const int64_t t = i < 4 ? (i & 1) * (rows - 1) : random_() % static_cast<uint64_t>(rows);
      const int64_t o =
          i < 4 ? (i >> 1) * (outputs - 1) : random_() % static_cast<uint64_t>(outputs);
      to_f32(DType::kBF16, loaded.x.view().row(t), k, x.data());
      double z[2] = {};
      for (int part = 0; part < (loaded.layer.gated ? 2 : 1); ++part) {
        to_f32(DType::kBF16, loaded.w.view().row(part * outputs + o), k, w.data());
        for (size_t at = 0; at < x.size(); ++at) z[part] += double{x[at]} * w[at];
      }
      const double value = loaded.layer.gated ? activate(ActivationKind::kSilu, z[0]) * z[1] : z[0];
      const float got = load_float(y, t, o);
      if (std::fabs(got - value) <= 0.006 * std::fabs(value) + 1e-4) continue;
      ++wrong;
      ADD_FAILURE() << "y[" << t << ", " << o << "] is " << got << ", must be " << value;
    }
    for (const float value : testing::values(y)) ASSERT_FALSE(std::isnan(value));
  }

  // Launches of all layers with every number of rows.
  using Visit = std::function<void(const Loaded&, const LinearArgs&, const DeviceTensor&)>;
  void for_each_call(Backend& backend, std::vector<Loaded>& layers, const Visit& visit) {
    for (Loaded& loaded : layers)
      for (const int64_t rows : kRows) {
        const int64_t outputs = loaded.layer.gated ? loaded.layer.n / 2 : loaded.layer.n;
        const DeviceTensor y(backend, Tensor(DType::kBF16, {rows, outputs}));
        const TensorView x = loaded.device_x->view().slice(0, 0, rows);
        SCOPED_TRACE(format("{} rows, {}x{}", rows, loaded.layer.n, loaded.layer.k));
        visit(loaded, args_of(loaded, x, y), y);
      }
  }
  void plan(Backend& backend, Stream& stream, std::vector<Loaded>& layers) {
    backend.begin_planning();
    for_each_call(backend, layers, [&](const Loaded&, const LinearArgs& args, const auto&) {
      backend.kernels().linear(stream, args);
    });
    backend.end_planning({});
  }

  std::string timings() const {
    std::string found;
    for (const auto& entry : fs::directory_iterator(folder_))
      if (entry.path().filename().string().starts_with("timings-")) found = entry.path();
    return found;
  }
  static std::string read(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }

  fs::path folder_;
  uint32_t seed_ = testing::fresh_seed();
  std::mt19937 random_{seed_};
  ::testing::ScopedTrace trace_{__FILE__, __LINE__, testing::seed_text(seed_)};
};

TEST_F(LinearTunerGpuTest, EveryTacticIsRight) {
  const auto backend = open(false);
  const auto stream = backend->make_stream();
  CudaStream& cuda = cuda_stream(*stream);
  const std::unique_ptr<CublasLt> library = CublasLt::open(BRAYTON_NVRTC_FOLDER);
  if (!library) std::printf("without cuBLASLt\n");
  std::vector<Loaded> layers;
  for (const Layer& layer : kLayers) layers.push_back(load(*backend, *stream, layer, 250));
  for (const bool planning : {true, false}) {
    if (planning) backend->begin_planning();
    for_each_call(*backend, layers,
                  [&](const Loaded& loaded, const LinearArgs& args, const DeviceTensor& y) {
                    for (const LinearTactic& tactic :
                         linear_candidates(linear_key(args), cuda.device(), library != nullptr)) {
                      SCOPED_TRACE(tactic.str());
                      launch_linear(cuda, args, tactic, library.get());
                      if (planning) continue;
                      stream->synchronize();
                      const Tensor result(DType::kBF16, y.view().shape);
                      y.download(result);
                      expect_right(loaded, result);
                      // So that the next must write it all.
                      const Tensor poison(DType::kBF16, y.view().shape);
                      backend->copy_to_device(y.view().data, poison.view().data,
                                              static_cast<size_t>(y.view().bytes()));
                    }
                  });
    if (planning) backend->end_planning({});
  }
}

TEST_F(LinearTunerGpuTest, WhatOneBackendMeasuredAnotherNeedNot) {
  std::string first_times;
  std::vector<Tensor> first_results;
  for (const bool first : {true, false}) {
    const auto backend = open();
    const auto stream = backend->make_stream();
    if (!cuda_stream(*stream).tuner()) GTEST_SKIP() << "nothing is tuned here";
    std::mt19937 same(7);
    std::swap(random_, same);
    std::vector<Loaded> layers;
    for (const Layer& layer : kLayers) layers.push_back(load(*backend, *stream, layer, 250));
    std::swap(random_, same);
    plan(*backend, *stream, layers);
    EXPECT_TRUE(cuda_stream(*stream).tuner()->wanted().empty());
    if (first) {
      first_times = read(timings());
      const Json entries = parse_json(first_times, "timings").at("entries");
      EXPECT_EQ(entries.size(), std::size(kLayers) * std::size(kRows));
      std::printf("%s\n", entries.dump(1).c_str());
    } else {
      EXPECT_EQ(read(timings()), first_times) << "something was measured again";
    }
    // Captured at once, nothing warmed up, as a program does; and no memory is taken.
    const int64_t free = backend->free_bytes();
    size_t at = 0;
    for_each_call(*backend, layers,
                  [&](const Loaded& loaded, const LinearArgs& args, const DeviceTensor& y) {
                    stream->begin_capture();
                    backend->kernels().linear(*stream, args);
                    const auto replay = stream->end_capture();
                    replay->launch();
                    stream->synchronize();
                    Tensor result(DType::kBF16, y.view().shape);
                    y.download(result);
                    expect_right(loaded, result);
                    if (first)
                      first_results.push_back(std::move(result));
                    else
                      testing::expect_same_bits(result, first_results.at(at++));
                  });
    EXPECT_NEAR(static_cast<double>(backend->free_bytes()), static_cast<double>(free), 4 << 20);
  }
}

TEST_F(LinearTunerGpuTest, TimesTravelWithAnEngine) {
  KernelImages images;
  {
    const auto backend = open();
    const auto stream = backend->make_stream();
    if (!cuda_stream(*stream).tuner()) GTEST_SKIP() << "nothing is tuned here";
    std::vector<Loaded> layers;
    layers.push_back(load(*backend, *stream, kLayers[0], 250));
    plan(*backend, *stream, layers);
    images = backend->kernel_images();
  }
  fs::remove_all(folder_);
  const auto backend = open();
  backend->add_kernel_images(images);
  const auto stream = backend->make_stream();
  LinearTuner& tuner = *cuda_stream(*stream).tuner();
  const LinearKey key{.n = kLayers[0].n, .k = kLayers[0].k, .rows = 64};
  EXPECT_EQ(tuner.plan(key, 64).size(), 1u);
  EXPECT_TRUE(tuner.wanted().empty());
}

}  // namespace
}  // namespace brayton::cuda
