// The linear kernels for few rows compute what the op means, over real models' sizes and odd ones:
// all types, strided rows, bias, activations, gated; the same bits every time; and in chains of
// dependent launches that overlap.
#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "backends/cuda/kernels/gemm/gemv.h"
#include "backends/cuda/kernels/gemm/linear.h"
#include "backends/cuda/kernels/gemm/linear_kernels.h"
#include "backends/cuda/kernels/gpu_test.h"
#include "ops/quant_blocks.h"

namespace brayton::cuda {
namespace {

using testing::Tensor;
using Kernel = void (*)(CudaStream&, const LinearArgs&);
constexpr DType kBF16 = DType::kBF16, kF16 = DType::kF16, kF32 = DType::kF32;
constexpr auto kSilu = ActivationKind::kSilu, kGelu = ActivationKind::kGelu,
               kGeluTanh = ActivationKind::kGeluTanh, kRelu = ActivationKind::kRelu;

// One weight, and the numbers of rows of x it is tried with.
struct Layer {
  DType dtype;
  int64_t outputs, columns;
  std::vector<int64_t> rows;
  bool bias = false;
  std::optional<ActivationKind> activation = std::nullopt;
  bool gated = false;

  std::string str(int64_t t) const {
    return format("{} x [{}, {}] to [{}, {}]{}{}{}", dtype_name(dtype), t, columns, t, outputs,
                  bias ? " bias" : "", activation ? " " : "",
                  activation ? activation_name(*activation) : "") +
           (gated ? " gated" : "");
  }
};

// Numbers from a table of normal ones: as good for this, and hundreds of times as fast.
Tensor random_weight(DType dtype, int64_t n, int64_t k, std::mt19937& random) {
  const Tensor table =
      testing::normal_tensor(dtype, {1 << 12}, random, 1.0f / std::sqrt(static_cast<float>(k)));
  Tensor w(dtype, {n, k});
  std::mt19937_64 fast(random());
  const auto fill = [&]<class Bits>(Bits) {
    const Bits* from = table.view().as<Bits>();
    Bits* to = w.view().as<Bits>();
    const int64_t count = n * k;
    int64_t i = 0;
    for (; i + 5 <= count; i += 5) {
      uint64_t bits = fast();
      for (int j = 0; j < 5; ++j, bits >>= 12) to[i + j] = from[bits & 0xfff];
    }
    for (; i < count; ++i) to[i] = from[fast() & 0xfff];
  };
  if (dtype == kF32)
    fill(uint32_t{});
  else
    fill(uint16_t{});
  return w;
}

// Half the distance of neighbours of `dtype`, relatively.
double unit(DType dtype) { return dtype == kBF16 ? 0x1p-8 : dtype == kF16 ? 0x1p-11 : 0x1p-24; }

class LinearGpuTest : public GpuTest {
 protected:
  // A weight on both sides, and its calls.
  struct Call {
    int64_t rows;
    Tensor x, y;
    std::unique_ptr<DeviceTensor> device_x, device_y, again;
  };
  struct Loaded {
    Layer layer;
    Tensor w, bias;
    std::unique_ptr<PackedWeight> packed;
    std::unique_ptr<DeviceTensor> device_bias;
    std::vector<Call> calls;
  };

  // `gap`: elements between the rows of x of every other call, and between those of y.
  Loaded load(const Layer& layer, int64_t x_gap, int64_t y_gap) {
    Loaded loaded{.layer = layer};
    const int64_t n = layer.outputs * (layer.gated ? 2 : 1);
    loaded.w = random_weight(layer.dtype, n, layer.columns, random_);
    loaded.packed = pack(loaded.w, std::string(dtype_name(layer.dtype)));
    if (layer.bias) {
      loaded.bias = testing::normal_tensor(kF32, {n}, random_);
      loaded.device_bias = std::make_unique<DeviceTensor>(backend(), loaded.bias);
    }
    for (const int64_t rows : layer.rows) {
      const bool gaps = loaded.calls.size() % 2 == 1;
      Call call{.rows = rows};
      call.x = testing::normal_tensor(layer.dtype, {rows, layer.columns}, random_, 1.0f,
                                      gaps ? x_gap : 0);
      call.y = Tensor(layer.dtype, {rows, layer.outputs}, gaps ? y_gap : 0);
      call.device_x = std::make_unique<DeviceTensor>(backend(), call.x);
      call.device_y = std::make_unique<DeviceTensor>(backend(), call.y);
      call.again = std::make_unique<DeviceTensor>(backend(), call.y);
      loaded.calls.push_back(std::move(call));
    }
    return loaded;
  }

  static LinearArgs args_of(const Loaded& loaded, const Call& call, const TensorView& y) {
    return {.x = *call.device_x,
            .w = {},
            .bias = loaded.device_bias ? loaded.device_bias->view() : TensorView(),
            .y = y,
            .packed = loaded.packed.get(),
            .activation = loaded.layer.activation,
            .gated = loaded.layer.gated};
  }

  // Sums in double, and what float32 sums may be away from them.
  struct Sum {
    double value = 0, error = 0;
  };
  static Sum dot(const std::vector<float>& x, const std::vector<float>& w, float bias) {
    Sum sum{bias, std::fabs(bias)};
    for (size_t k = 0; k < x.size(); ++k) {
      const double product = double{x[k]} * w[k];
      sum.value += product;
      sum.error += std::fabs(product);
    }
    sum.error *= 4e-6;
    return sum;
  }

  void expect_output(const Layer& layer, int64_t t, int64_t i, float got, const Sum* z) {
    double value = z[0].value, error = z[0].error;
    if (layer.activation) {  // whose slope is below 1.2, and which the kernels approximate
      value = activate(*layer.activation, value);
      error = 1.2 * error + 3e-6 * (1.0 + std::fabs(z[0].value));
    }
    if (layer.gated) {
      error = error * (std::fabs(z[1].value) + z[1].error) + std::fabs(value) * z[1].error;
      value *= z[1].value;
    }
    const double bound = error + 1.01 * unit(layer.dtype) * (std::fabs(value) + error) + 1e-7;
    if (std::fabs(got - value) <= bound) return;
    if (++wrong_ <= 5)
      ADD_FAILURE() << "y[" << t << ", " << i << "] is " << got << ", must be " << value << " +- "
                    << bound;
  }

  // All outputs of small layers, of others the first, the last and a sample.
  std::vector<int64_t> sample(const Layer& layer, int64_t rows) {
    std::vector<int64_t> outputs;
    const int64_t most = std::max<int64_t>(48, (int64_t{4} << 20) / (rows * layer.columns));
    if (layer.outputs <= most) {
      for (int64_t i = 0; i < layer.outputs; ++i) outputs.push_back(i);
      return outputs;
    }
    for (int64_t i = 0; i < 8; ++i) {
      outputs.push_back(i);
      outputs.push_back(layer.outputs - 1 - i);
    }
    while (static_cast<int64_t>(outputs.size()) < most)
      outputs.push_back(static_cast<int64_t>(random_() % static_cast<uint64_t>(layer.outputs)));
    return outputs;
  }

  void expect_right(const Loaded& loaded, const Call& call) {
    const Layer& layer = loaded.layer;
    std::vector<std::vector<float>> x(static_cast<size_t>(call.rows),
                                      std::vector<float>(static_cast<size_t>(layer.columns)));
    for (int64_t t = 0; t < call.rows; ++t)
      to_f32(layer.dtype, call.x.view().row(t), layer.columns, x[static_cast<size_t>(t)].data());
    std::vector<float> w(static_cast<size_t>(layer.columns));
    wrong_ = 0;
    for (const int64_t i : sample(layer, call.rows)) {
      std::vector<Sum> sums[2];
      for (int part = 0; part < (layer.gated ? 2 : 1); ++part) {
        const int64_t row = part * layer.outputs + i;
        to_f32(layer.dtype, loaded.w.view().row(row), layer.columns, w.data());
        const float bias = layer.bias ? loaded.bias.view().as<float>()[row] : 0.0f;
        for (const auto& x_row : x) sums[part].push_back(dot(x_row, w, bias));
      }
      for (size_t t = 0; t < x.size(); ++t) {
        const Sum z[2] = {sums[0][t], layer.gated ? sums[1][t] : Sum{}};
        expect_output(layer, static_cast<int64_t>(t), i,
                      load_float(call.y, static_cast<int64_t>(t), i), z);
      }
    }
    EXPECT_EQ(wrong_, 0);
    // Every element was written, and none between the rows.
    const TensorView& y = call.y.view();
    for (int64_t t = 0; t < call.rows; ++t)
      for (int64_t i = 0; i < (t + 1 < call.rows ? y.strides[0] : layer.outputs); ++i)
        ASSERT_EQ(std::isnan(load_float(y.dtype, y.data, t * y.strides[0] + i)), i >= layer.outputs)
            << "y[" << t << ", " << i << "], of rows " << y.strides[0] << " apart";
  }

  void check_layers(Kernel kernel, const std::vector<Layer>& layers, int64_t x_gap = 8,
                    int64_t y_gap = 8) {
    std::vector<Loaded> all;
    for (const Layer& layer : layers) all.push_back(load(layer, x_gap, y_gap));
    // What the calls need is compiled by all cores at once.
    backend().begin_planning();
    for (const Loaded& loaded : all)
      for (const Call& call : loaded.calls) kernel(cuda(), args_of(loaded, call, *call.device_y));
    backend().end_planning({});
    for (Loaded& loaded : all)
      for (Call& call : loaded.calls) {
        SCOPED_TRACE(loaded.layer.str(call.rows));
        kernel(cuda(), args_of(loaded, call, *call.device_y));
        kernel(cuda(), args_of(loaded, call, *call.again));
        stream().synchronize();
        call.device_y->download(call.y);
        expect_right(loaded, call);
        const Tensor second(loaded.layer.dtype, {call.rows, loaded.layer.outputs},
                            call.y.view().strides[0] - loaded.layer.outputs);
        call.again->download(second);
        testing::expect_same_bits(second, call.y);
        if (HasFailure()) return;
      }
  }

  int wrong_ = 0;
};

// Smaller GPUs have no room for four long rows of x.
void gemv_where_it_fits(CudaStream& stream, const LinearArgs& args) {
  const GemvShape shape{args.x.dim(0), args.y.dim(1), args.x.dim(1), args.gated};
  return choose_gemv(shape, stream.device()) ? linear_gemv(stream, args)
                                             : linear_skinny(stream, args);
}

TEST_F(LinearGpuTest, GemvOfLlamaSizes) {
  check_layers(gemv_where_it_fits, {{kBF16, 6144, 4096, {1, 2, 3, 4}},
                                    {kBF16, 4096, 14336, {1, 2, 4}},
                                    {kBF16, 14336, 4096, {1, 2, 4}, false, kSilu, true},
                                    {kF16, 1024, 8192, {1, 4}},
                                    {kBF16, 512, 24576, {1, 2}}});
}

TEST_F(LinearGpuTest, GemvOfSmallModels) {
  check_layers(linear_gemv,
               {{kBF16, 576, 576, {1, 2}},
                {kBF16, 192, 576, {1, 4}},
                {kBF16, 1536, 576, {1, 4}, false, kSilu, true},
                {kBF16, 576, 1536, {1, 3}},
                {kBF16, 49152, 576, {1}},
                {kF16, 2304, 768, {1, 3}, true},
                {kF16, 3072, 768, {1, 4}, true, kGeluTanh},
                {kF16, 768, 3072, {2, 1}, true},
                {kF16, 50257, 768, {1, 3}}},
               8, 3);
}

TEST_F(LinearGpuTest, GemvOfOddSizes) {
  check_layers(linear_gemv,
               {{kBF16, 40, 72, {1, 4}, true},
                {kBF16, 1, 72, {1, 3}, true, kRelu},
                {kF16, 3, 8, {1, 2}},
                {kF16, 41, 264, {1, 4}, true, kGelu, true},
                {kBF16, 77, 1032, {1, 4}, true, kGelu}},
               16, 5);
}

TEST_F(LinearGpuTest, SkinnyOfLlamaSizes) {
  check_layers(linear_skinny, {{kBF16, 6144, 4096, {5, 8, 16, 17, 33, 64, 65, 128}},
                               {kBF16, 4096, 4096, {1, 16, 64}},
                               {kBF16, 4096, 14336, {8, 16, 64}},
                               {kBF16, 14336, 4096, {8, 16, 64, 128}, false, kSilu, true},
                               {kBF16, 512, 24576, {16, 64}},
                               {kF16, 1024, 8192, {7, 64}}});
}

TEST_F(LinearGpuTest, SkinnyOfSmallModels) {
  check_layers(linear_skinny,
               {{kBF16, 576, 576, {1, 8, 16, 33, 64}},
                {kBF16, 192, 576, {5, 17}},
                {kBF16, 1536, 576, {8, 33}, false, kSilu, true},
                {kBF16, 576, 1536, {9, 64}},
                {kBF16, 49152, 576, {16}},
                {kF16, 2304, 768, {8, 33}, true},
                {kF16, 3072, 768, {5, 64}, true, kGeluTanh},
                {kF16, 50257, 768, {8, 33}}},
               8, 3);
}

TEST_F(LinearGpuTest, SkinnyOfOddSizes) {
  check_layers(linear_skinny,
               {{kBF16, 40, 72, {1, 8, 17, 64}, true},
                {kBF16, 1, 72, {5, 16, 33, 128}, true},
                {kBF16, 129, 64, {8, 64}},
                {kF16, 3, 8, {5, 9}},
                {kF16, 40, 72, {5, 33, 65}, true, kGelu, true},
                {kF16, 200, 1096, {5, 64}, true, kGelu, true},
                {kF16, 41, 264, {5, 16, 64}, true, kGelu, true},  // portable
                {kBF16, 77, 1032, {6, 40, 100}, true, kRelu}},
               16, 5);
}

TEST_F(LinearGpuTest, SimpleOfAnything) {
  check_layers(linear_simple,
               {{kF32, 576, 576, {1, 4, 17, 64}},
                {kF32, 33, 31, {1, 5, 17, 100}, true, kGelu},
                {kF32, 1536, 576, {1, 33}, false, kSilu, true},
                {kF32, 1, 1, {1, 70}},
                {kF32, 130, 2050, {3, 65}, true, kGeluTanh, true},
                {kBF16, 77, 63, {1, 20}, true},
                {kF16, 65, 129, {2, 65}, true, kRelu}},
               3, 5);
}

void table_linear(CudaStream& stream, const LinearArgs& args) { linear(stream, args); }

TEST_F(LinearGpuTest, TheTablesLinearForEveryNumberOfRows) {
  check_layers(table_linear, {{kBF16, 576, 576, {1, 3, 4, 5, 8, 16, 17, 33, 64, 65, 128}},
                              {kF16, 41, 264, {1, 16, 64, 65, 128}, true},
                              {kBF16, 320, 136, {2, 64, 128}, true, kSilu, true},
                              {kBF16, 77, 63, {1, 16, 128}},
                              {kF32, 64, 64, {1, 16, 128}}});
  check_layers(table_linear, {{kBF16, 64, 64, {2, 8, 70}}}, 3, 3);  // rows not aligned
}

// y of each launch is x of the next: launches that overlap must not read what is not there yet, nor
// write what is still read, nor mix up their sums.
TEST_F(LinearGpuTest, ChainsOfLaunchesThatOverlap) {
  constexpr int kLaunches = 60;
  for (const int64_t rows : {1, 4, 16, 64}) {
    SCOPED_TRACE(format("{} rows", rows));
    const Tensor start = testing::normal_tensor(kBF16, {rows, 2048}, random_);
    std::vector<Tensor> weights;
    std::vector<std::unique_ptr<PackedWeight>> packed;
    for (const int64_t outputs : {2048, 4096, 2048}) {
      const int64_t columns = packed.size() == 2 ? 4096 : 2048;
      weights.push_back(random_weight(kBF16, outputs, columns, random_));
      packed.push_back(pack(weights.back(), "bf16"));
    }
    // 2048 -> 2048 -> 4096 -> 2048 -> ..., in one buffer each.
    const auto run = [&](bool overlapping) {
      DeviceTensor a(backend(), start);
      const DeviceTensor b(backend(), Tensor(kBF16, {rows, 2048}));
      const DeviceTensor c(backend(), Tensor(kBF16, {rows, 4096}));
      stream().synchronize();
      for (int i = 0; i < kLaunches; ++i) {
        const TensorView views[] = {a, b, c, a};
        LinearArgs args{.x = views[i % 3],
                        .w = {},
                        .bias = {},
                        .y = views[i % 3 + 1],
                        .packed = packed[static_cast<size_t>(i % 3)].get()};
        linear(stream(), args);
        if (!overlapping) stream().synchronize();
      }
      stream().synchronize();
      Tensor result(kBF16, {rows, 2048});
      a.download(result);
      return result;
    };
    const Tensor expected = run(false);
    for (const float value : testing::values(expected)) ASSERT_FALSE(std::isnan(value));
    for (int repeat = 0; repeat < 3; ++repeat) testing::expect_same_bits(run(true), expected);
  }
}

TEST_F(LinearGpuTest, MisuseIsRefused) {
  const Tensor w = random_weight(kBF16, 64, 32, random_);
  const auto packed = pack(w, "bf16");
  const auto error = [&](const Tensor& x, const Tensor& y, bool gated = false) {
    const DeviceTensor device_x(backend(), x), device_y(backend(), y);
    return testing::error_of([&] {
      linear(stream(), {.x = device_x,
                        .w = {},
                        .bias = {},
                        .y = device_y,
                        .packed = packed.get(),
                        .activation = gated ? std::optional(kSilu) : std::nullopt,
                        .gated = gated});
    });
  };
  EXPECT_EQ(error(Tensor(kBF16, {2, 31}), Tensor(kBF16, {2, 64})),
            "[linear] packed w is [64, 32], got x [2, 31] and y [2, 64]");
  EXPECT_EQ(error(Tensor(kBF16, {2, 32}), Tensor(kBF16, {2, 64}), true),
            "[linear] packed w is [64, 32], gated, got x [2, 32] and y [2, 64]");
  EXPECT_EQ(error(Tensor(kF16, {2, 32}), Tensor(kF16, {2, 64})),
            "[linear] x must be bf16 as the packed w, got f16");
}

}  // namespace
}  // namespace brayton::cuda
