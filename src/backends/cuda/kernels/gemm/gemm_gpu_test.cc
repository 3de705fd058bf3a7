// The GEMM kernels compute what the op means, for every tile they may choose, odd sizes and ragged
// edges included; nothing but y is written; results are the same bits every time.
//
// Outputs are too many for the reference: corners, edges of tiles and a random sample are computed
// in double, and every element must at least have been written.
#include "backends/cuda/kernels/gemm/gemm_hopper.h"
#include "backends/cuda/kernels/gemm/linear_kernels.h"
#include "backends/cuda/kernels/gpu_test.h"
#include "backends/cuda/packed_linear.h"
#include "core/half.h"
#include "ops/activation.h"

namespace brayton::cuda {
namespace {

using testing::Tensor;

struct Case {
  int64_t rows, n, k;
  bool gated = false;
  std::optional<ActivationKind> activation;
  bool bias = false;
  DType dtype = DType::kBF16;
  int64_t gap = 0;  // elements between the rows of x and of y

  int64_t columns() const { return gated ? n / 2 : n; }
  std::string str() const {
    return format("{} x[{}, {}] w[{}, {}]{}{}{}, row gap {}", dtype_name(dtype), rows, k, n, k,
                  gated ? " gated" : "", bias ? " bias" : "",
                  activation ? format(" {}", activation_name(*activation)) : "", gap);
  }
};

using Launch = std::function<void(CudaStream&, const LinearArgs&)>;

// Random bits with moderate exponents: magnitudes from 2^(top - 7) to 2^(top + 1), a mean square of
// 0.389 * 4^top. Faster than a distribution, for weights of 10^8 elements.
void fill_bits(const TensorView& view, std::mt19937& random, int top) {
  const bool bf16 = view.dtype == DType::kBF16;
  const uint32_t exponent = static_cast<uint32_t>((bf16 ? 127 : 15) + top);
  const int mantissa = bf16 ? 7 : 10;
  uint64_t state = random() | 1;
  for (int64_t r = 0; r < view.dim(0); ++r) {
    auto* row = view.row_as<uint16_t>(r);
    for (int64_t c = 0; c < view.dim(1); ++c) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      const auto bits = static_cast<uint32_t>(state >> 33);
      row[c] = static_cast<uint16_t>((bits & 0x8000u) | (exponent - (bits >> 16 & 7u)) << mantissa |
                                     (bits & ((1u << mantissa) - 1)));
    }
  }
}

// So that sums of k products of such x and w are of size 1 to 2.
int weight_top(int64_t k) {
  const double scale = 2.0 / std::sqrt(0.151 * static_cast<double>(k));
  return std::clamp(static_cast<int>(std::floor(std::log2(scale))), -7, 0);
}

std::vector<int64_t> edges(int64_t size) {
  std::vector<int64_t> found;
  for (const int64_t at : {0, 1, 7, 8, 15, 16, 63, 64, 127, 128, 191, 192, 255, 256})
    if (at < size) found.push_back(at);
  found.push_back(size - 1);
  found.push_back(size / 2);
  return found;
}

class GemmTest : public GpuTest {
 protected:
  // A weight on the device that several cases use.
  struct Weight {
    Tensor host;
    std::unique_ptr<PackedWeight> packed;
  };
  Weight make_weight(DType dtype, int64_t n, int64_t k) {
    Weight weight{Tensor(dtype, {n, k}), nullptr};
    fill_bits(weight.host, random_, weight_top(k));
    weight.packed = pack(weight.host, std::string(dtype_name(weight.host.view().dtype)));
    return weight;
  }

  // Has the kernels of all launches compiled at once, in parallel.
  void compile(const std::vector<std::pair<Case, Launch>>& launches) {
    void* nowhere = reinterpret_cast<void*>(4096);
    if (!backend().begin_planning()) return;
    for (const auto& [c, launch] : launches) {
      const PackedLinear packed(c.dtype, c.n, c.k, "gemm", Buffer(nowhere, 1, [](void*) {}));
      LinearArgs args;
      args.x = TensorView(nowhere, c.dtype, {c.rows, c.k});
      args.y = TensorView(nowhere, c.dtype, {c.rows, c.columns()});
      args.x.strides[0] += c.gap;
      args.y.strides[0] += c.gap;
      if (c.bias) args.bias = TensorView(nowhere, DType::kF32, {c.n});
      args.packed = &packed;
      args.activation = c.activation;
      args.gated = c.gated;
      launch(cuda(), args);
    }
    backend().end_planning({});
  }

  void expect_right(const Case& c, const Launch& launch, const Weight& weight,
                    const std::string& what = "") {
    SCOPED_TRACE(c.str() + (what.empty() ? "" : ", " + what));
    const Tensor x(c.dtype, {c.rows, c.k}, c.gap);
    fill_bits(x, random_, 0);
    const Tensor bias = testing::normal_tensor(DType::kF32, {c.n}, random_);
    const Tensor y(c.dtype, {c.rows, c.columns()}, c.gap);
    const DeviceTensor x_device = on_device(x), y_device = on_device(y), b_device = on_device(bias);

    LinearArgs args;
    args.x = x_device;
    args.y = y_device;
    if (c.bias) args.bias = b_device;
    args.packed = weight.packed.get();
    args.activation = c.activation;
    args.gated = c.gated;
    launch(cuda(), args);
    stream().synchronize();
    y_device.download(y);
    expect_written(y);
    compare(c, x, weight.host, bias, y);
  }

 private:
  // No element of y is poison any more, every element between its rows is.
  static void expect_written(const TensorView& y) {
    int64_t missing = 0, spoilt = 0, first = -1;
    for (int64_t t = 0; t < y.dim(0); ++t) {
      const auto* row = y.row_as<const uint16_t>(t);
      for (int64_t i = 0; i < y.dim(1); ++i)
        if (row[i] == 0xffff) {
          ++missing;
          if (first < 0) first = t * y.dim(1) + i;
        }
      if (t + 1 == y.dim(0)) break;
      for (int64_t i = y.dim(1); i < y.strides[0]; ++i) spoilt += row[i] != 0xffff;
    }
    EXPECT_EQ(missing, 0) << "elements never written, the first at row " << first / y.dim(1)
                          << ", column " << first % y.dim(1);
    EXPECT_EQ(spoilt, 0) << "elements between the rows of y written";
  }

  struct Expected {
    double value, allowed;
  };
  static Expected expected(const Case& c, const TensorView& x, const TensorView& w,
                           const TensorView& bias, int64_t t, int64_t i) {
    const auto sum = [&](int64_t n) {
      double total = c.bias ? bias.as<float>()[n] : 0.0;
      for (int64_t k = 0; k < c.k; ++k) total += double{load_float(x, t, k)} * load_float(w, n, k);
      return total;
    };
    double value = sum(i);
    if (c.activation) value = activate(*c.activation, value);
    const double up = c.gated ? sum(c.columns() + i) : 1.0;
    value *= up;
    const double rounding = c.dtype == DType::kBF16 ? 0x1p-8 : 0x1p-11;
    return {value, rounding * std::abs(value) + 3e-4 * (1.0 + std::abs(up))};
  }

  void compare(const Case& c, const TensorView& x, const TensorView& w, const TensorView& bias,
               const TensorView& y) {
    std::vector<std::pair<int64_t, int64_t>> sample;
    for (const int64_t t : edges(c.rows))
      for (const int64_t i : edges(c.columns())) sample.emplace_back(t, i);
    const int64_t more = std::clamp<int64_t>(4'000'000 / c.k, 100, 2000);
    for (int64_t s = 0; s < more; ++s)
      sample.emplace_back(random_() % static_cast<uint64_t>(c.rows),
                          random_() % static_cast<uint64_t>(c.columns()));
    int wrong = 0;
    std::string first;
    for (const auto& [t, i] : sample) {
      const Expected e = expected(c, x, w, bias, t, i);
      const double actual = load_float(y, t, i);
      if (std::abs(actual - e.value) <= e.allowed) continue;
      if (wrong++ < 8)
        first +=
            format("\n  y[{}, {}] is {}, expected {} within {}", t, i, actual, e.value, e.allowed);
    }
    EXPECT_EQ(wrong, 0) << "of " << sample.size() << " sampled, the first:" << first;
  }
};

// ---- Hopper ------------------------------------------------------------------------------------

class GemmHopper : public GemmTest {
 protected:
  void SetUp() override {
    if (!cuda().device().hopper) GTEST_SKIP() << "needs kernels for sm_90a";
  }
  // The candidate with these tiles, whatever the model thinks of it.
  GemmChoice choice_of(const Case& c, int consumers, int tile_n, int cluster_m, int cluster_n,
                       int splits) {
    for (const GemmChoice& choice :
         gemm_candidates({c.rows, c.n, c.k, c.gated}, cuda().device(), 1000))
      if (choice.consumers == consumers && choice.tile_n == tile_n &&
          choice.cluster_m == cluster_m && choice.cluster_n == cluster_n && choice.splits == splits)
        return choice;
    ADD_FAILURE() << "no candidate " << 64 * consumers << "x" << tile_n << ", cluster " << cluster_m
                  << "x" << cluster_n << ", splits " << splits << " for " << c.str();
    return {};
  }
};

Launch with(const GemmChoice& choice) {
  return [choice](CudaStream& stream, const LinearArgs& args) {
    linear_gemm_hopper_with(stream, args, choice);
  };
}

TEST_F(GemmHopper, EveryKindOfTile) {
  struct Tile {
    int consumers, tile_n, cluster_m, cluster_n, splits;
    bool gated;
  };
  // Several waves, bands of rows, ragged on every side; for splits a single wave.
  const Tile tiles[] = {
      {2, 256, 2, 1, 1, false}, {2, 256, 2, 1, 1, true},  {2, 256, 1, 1, 1, true},
      {2, 128, 2, 2, 1, false}, {2, 224, 2, 2, 1, true},  {2, 96, 1, 4, 1, false},
      {2, 160, 1, 2, 1, true},  {3, 192, 2, 1, 1, false}, {2, 32, 1, 4, 1, false},
      {2, 64, 2, 1, 1, true},   {2, 128, 2, 1, 2, false}, {2, 256, 2, 1, 4, false},
      {2, 192, 2, 1, 3, false}, {2, 192, 1, 2, 2, true},  {2, 128, 1, 1, 4, true},
      {3, 128, 1, 1, 2, false}, {2, 128, 2, 1, 2, true}};
  std::vector<std::pair<Case, Launch>> launches;
  std::vector<std::string> names;
  for (const Tile& t : tiles) {
    Case c = t.splits == 1 ? Case{2500, 2064, 328} : Case{200, 1040, 840};
    c.gated = t.gated;
    if (t.gated) c.activation = ActivationKind::kSilu;
    c.bias = launches.size() % 3 == 0;
    c.gap = 8;
    const GemmChoice choice =
        choice_of(c, t.consumers, t.tile_n, t.cluster_m, t.cluster_n, t.splits);
    launches.emplace_back(c, with(choice));
    names.push_back(format("tile {}x{}, cluster {}x{}, splits {}, stages {}, chunk {}",
                           choice.tile_m(), choice.tile_n, choice.cluster_m, choice.cluster_n,
                           choice.splits, choice.stages, choice.chunk));
  }
  if (HasFailure()) return;
  compile(launches);
  const Weight wide = make_weight(DType::kBF16, 2064, 328);
  const Weight small = make_weight(DType::kBF16, 1040, 840);
  for (size_t i = 0; i < launches.size(); ++i) {
    const auto& [c, launch] = launches[i];
    expect_right(c, launch, c.k == 328 ? wide : small, names[i]);
  }
}

TEST_F(GemmHopper, FewRowsOnOneConsumer) {
  const Case c{50, 1040, 840, false, std::nullopt, true};
  const std::vector<std::pair<Case, Launch>> launches{{c, with(choice_of(c, 1, 256, 1, 2, 1))},
                                                      {c, with(choice_of(c, 1, 64, 1, 2, 2))}};
  if (HasFailure()) return;
  compile(launches);
  const Weight weight = make_weight(DType::kBF16, c.n, c.k);
  for (const auto& [same, launch] : launches) expect_right(same, launch, weight);
}

TEST_F(GemmHopper, ActivationsBiasesAndTypes) {
  std::vector<std::pair<Case, Launch>> launches;
  for (const DType dtype : {DType::kBF16, DType::kF16})
    for (const ActivationKind kind : {ActivationKind::kSilu, ActivationKind::kGelu,
                                      ActivationKind::kGeluTanh, ActivationKind::kRelu}) {
      const bool gated = kind == ActivationKind::kGelu || kind == ActivationKind::kSilu;
      launches.push_back({{130, 528, 200, gated, kind, true, dtype, 16}, linear_gemm_hopper});
    }
  compile(launches);
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    const Weight weight = make_weight(dtype, 528, 200);
    for (const auto& [c, launch] : launches)
      if (c.dtype == dtype) expect_right(c, launch, weight);
  }
}

TEST_F(GemmHopper, OddSizes) {
  std::vector<std::pair<Case, Launch>> launches;
  for (const auto& [n, k] : {std::pair<int64_t, int64_t>{40, 72}, {72, 8}, {8, 4096}})
    for (const int64_t rows : {1, 63, 65, 130, 257, 1000})
      launches.push_back({{rows, n, k, false, std::nullopt, rows % 2 == 0}, linear_gemm_hopper});
  compile(launches);
  for (const auto& [n, k] : {std::pair<int64_t, int64_t>{40, 72}, {72, 8}, {8, 4096}}) {
    const Weight weight = make_weight(DType::kBF16, n, k);
    for (const auto& [c, launch] : launches)
      if (c.n == n) expect_right(c, launch, weight);
  }
}

TEST_F(GemmHopper, LayersOfAnEightBillionModel) {
  const Case layers[] = {{0, 6144, 4096},
                         {0, 4096, 4096},
                         {0, 28672, 4096, true, ActivationKind::kSilu},
                         {0, 4096, 14336}};
  const int64_t numbers[] = {65, 130, 256, 1000};
  std::vector<std::pair<Case, Launch>> launches;
  for (Case c : layers)
    for (const int64_t rows : numbers) {
      c.rows = rows;
      launches.emplace_back(c, linear_gemm_hopper);
    }
  compile(launches);
  for (const Case& layer : layers) {
    const Weight weight = make_weight(DType::kBF16, layer.n, layer.k);
    for (const auto& [c, launch] : launches)
      if (c.n == layer.n && c.k == layer.k) expect_right(c, launch, weight);
  }
}

// Every kernel reads what the one before wrote and overwrites what the one before that read, with
// no wait of the host in between: only wait_for_dependency() keeps them in order.
TEST_F(GemmHopper, DependentLaunchesGiveTheSameBitsAsSeparateOnes) {
  const Case c{200, 1024, 1024};
  const std::vector<GemmChoice> choices{choice_of(c, 2, 128, 2, 1, 2), choice_of(c, 2, 64, 1, 4, 1),
                                        choice_of(c, 2, 256, 2, 1, 1)};
  if (HasFailure()) return;
  std::vector<std::pair<Case, Launch>> launches;
  for (const GemmChoice& choice : choices) launches.emplace_back(c, with(choice));
  compile(launches);
  const Weight weight = make_weight(DType::kBF16, c.n, c.k);
  const Tensor start(DType::kBF16, {c.rows, c.k});
  fill_bits(start, random_, 0);

  const auto chain = [&](bool separate) {
    const DeviceTensor a = on_device(start), b = on_device(start);
    for (int i = 0; i < 30; ++i) {
      LinearArgs args;
      args.x = i % 2 == 0 ? a : b;
      args.y = i % 2 == 0 ? b : a;
      args.packed = weight.packed.get();
      launches[static_cast<size_t>(i) % launches.size()].second(cuda(), args);
      if (separate) stream().synchronize();
    }
    stream().synchronize();
    Tensor result(DType::kBF16, {c.rows, c.k});
    a.download(result);
    return result;
  };
  const Tensor separate = chain(true), dependent = chain(false), again = chain(false);
  testing::expect_same_bits(dependent, separate);
  testing::expect_same_bits(again, separate);
}

TEST_F(GemmHopper, SaysWhatItNeeds) {
  const Weight weight = make_weight(DType::kBF16, 16, 8);
  const Tensor x(DType::kBF16, {4, 8}, 1), y(DType::kBF16, {4, 16});
  const DeviceTensor x_device = on_device(x), y_device = on_device(y);
  LinearArgs args;
  args.x = x_device;
  args.y = y_device;
  args.packed = weight.packed.get();
  EXPECT_FALSE(gemm_hopper_supports(cuda().device(), args));
  EXPECT_NE(testing::error_of([&] { linear_gemm_hopper(cuda(), args); }).find("multiples of 16"),
            std::string::npos);
}

// ---- portable ----------------------------------------------------------------------------------

using GemmPortable = GemmTest;

TEST_F(GemmPortable, OddSizesActivationsAndTypes) {
  std::vector<std::pair<Case, Launch>> launches;
  const auto add = [&](const Case& c) { launches.emplace_back(c, linear_gemm); };
  for (const int64_t rows : {1, 63, 65, 130, 257, 1000}) {
    add({rows, 41, 72, false, std::nullopt, true});
    add({rows, 72, 8, false, ActivationKind::kGelu, false, DType::kF16, 8});
    add({rows, 82, 328, true, ActivationKind::kSilu, true});
    add({rows, 1040, 840, true, ActivationKind::kGeluTanh, false, DType::kF16, 8});
  }
  add({2000, 2072, 328, false, ActivationKind::kRelu, true});
  add({2000, 2064, 328, true, ActivationKind::kSilu, true, DType::kF16});
  compile(launches);
  std::map<std::tuple<DType, int64_t, int64_t>, Weight> weights;
  for (const auto& [c, launch] : launches) {
    const auto key = std::make_tuple(c.dtype, c.n, c.k);
    if (!weights.contains(key)) weights.emplace(key, make_weight(c.dtype, c.n, c.k));
    expect_right(c, launch, weights.at(key));
  }
}

TEST_F(GemmPortable, LayersOfAnEightBillionModel) {
  const Case cases[] = {
      {257, 4096, 4096}, {130, 28672, 4096, true, ActivationKind::kSilu}, {65, 4096, 14336}};
  std::vector<std::pair<Case, Launch>> launches;
  for (const Case& c : cases) launches.emplace_back(c, linear_gemm);
  compile(launches);
  for (const Case& c : cases) expect_right(c, linear_gemm, make_weight(c.dtype, c.n, c.k));
}

}  // namespace
}  // namespace brayton::cuda
