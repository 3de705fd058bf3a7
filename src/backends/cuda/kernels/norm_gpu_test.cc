// rms_norm and layer_norm on a GPU compute what the ops mean: every way in which a row is shared
// out, every element type, residuals, tensors that share memory, strided rows. Sums come out bit
// for bit.
#include "backends/cuda/kernels/gpu_test.h"
#include "backends/cuda/kernels/norm.h"

namespace brayton::cuda {
namespace {

using testing::expect_close;
using testing::expect_same_bits;
using testing::normal_tensor;
using testing::Tensor;
using testing::Tolerance;

struct Case {
  DType dtype;
  int64_t rows, width;
  int64_t gap = 0;  // elements between rows
};

const Case kCases[] = {
    // One row, as in decoding, and more rows than blocks: LLaMA 8B, SmolLM2 (threads to spare).
    {DType::kBF16, 1, 4096},
    {DType::kBF16, 300, 4096},
    {DType::kBF16, 3, 576},
    {DType::kBF16, 1500, 576, 8},
    // Two vectors a thread; more than registers hold beside the row; more than they hold.
    {DType::kBF16, 20, 5120},
    {DType::kBF16, 140, 14336},
    {DType::kBF16, 3, 18432},
    // A warp; sizes and addresses that are not whole vectors.
    {DType::kBF16, 2500, 64},
    {DType::kBF16, 140, 4100, 2},
    {DType::kBF16, 5, 4096, 3},
    {DType::kBF16, 2, 1},
    {DType::kF16, 270, 8192},
    {DType::kF16, 7, 65},
    {DType::kF32, 270, 4096},
    {DType::kF32, 7, 576, 4},
    {DType::kF32, 2, 10000},
    {DType::kF32, 3, 37},
};

Tolerance tolerance_of(DType dtype) {
  return dtype == DType::kF32 ? Tolerance{2e-6, 4e-6} : rounding_tolerance(dtype, 1.0);
}

class NormGpuTest : public GpuTest {
 protected:
  // Kernels are compiled side by side when the cases ran once to plan them.
  template <class Body>
  void for_cases(const Body& body) {
    for (const bool planning : {true, false}) {
      if (planning) backend().begin_planning();
      for (const Case& c : kCases) {
        SCOPED_TRACE(format("{} [{}, {}], gap {}", dtype_name(c.dtype), c.rows, c.width, c.gap));
        body(planning ? Case{c.dtype, 1, c.width, c.gap} : c, !planning);
      }
      if (planning) backend().end_planning({});
    }
  }
  Tensor normal(const Case& c, float deviation = 1.0f) {
    return normal_tensor(c.dtype, {c.rows, c.width}, random_, deviation, c.gap);
  }
  Tensor weight(const Case& c) { return normal_tensor(DType::kF32, {c.width}, random_); }
  Tensor empty(const Case& c) { return Tensor(c.dtype, {c.rows, c.width}, c.gap); }
  // What the device has for `tensor`.
  Tensor fetched(const Case& c, const DeviceTensor& tensor) {
    stream().synchronize();
    Tensor host = empty(c);
    tensor.download(host);
    return host;
  }
};

TEST_F(NormGpuTest, RmsNorm) {
  for_cases([&](const Case& c, bool compare) {
    const Tensor x = normal(c, 3.0f), residual = normal(c), w = weight(c);
    const Tensor expected = empty(c), expected_sum = empty(c);
    const DeviceTensor device_x = on_device(x), device_residual = on_device(residual);
    const DeviceTensor device_w = on_device(w), y = on_device(empty(c)), sum = on_device(empty(c));

    rms_norm(stream(), {.x = device_x, .residual = {}, .w = device_w, .sum = {}, .y = y});
    if (compare) {
      reference(RmsNormArgs{.x = x, .residual = {}, .w = w, .sum = {}, .y = expected});
      expect_close(fetched(c, y), expected, tolerance_of(c.dtype));
    }
    rms_norm(stream(), {.x = device_x,
                        .residual = device_residual,
                        .w = device_w,
                        .sum = sum,
                        .y = y,
                        .eps = 1e-6f});
    if (!compare) return;
    reference(RmsNormArgs{
        .x = x, .residual = residual, .w = w, .sum = expected_sum, .y = expected, .eps = 1e-6f});
    expect_close(fetched(c, y), expected, tolerance_of(c.dtype));
    expect_same_bits(fetched(c, sum), expected_sum);

    // The same in place: the sum in the residual's memory, y in x's.
    rms_norm(stream(), {.x = device_x,
                        .residual = device_residual,
                        .w = device_w,
                        .sum = device_residual,
                        .y = device_x,
                        .eps = 1e-6f});
    expect_same_bits(fetched(c, device_x), fetched(c, y));
    expect_same_bits(fetched(c, device_residual), expected_sum);
  });
}

TEST_F(NormGpuTest, LayerNorm) {
  for_cases([&](const Case& c, bool compare) {
    Tensor x = normal(c, 2.0f);
    // A mean as large as the deviation: it must be taken off before values are squared.
    testing::for_each_element(x, [&](int64_t at) {
      store_float(c.dtype, x.view().data, at, load_float(c.dtype, x.view().data, at) + 2.0f);
    });
    const Tensor residual = normal(c), w = weight(c), b = weight(c);
    const Tensor expected = empty(c), expected_sum = empty(c);
    const DeviceTensor device_x = on_device(x), device_residual = on_device(residual);
    const DeviceTensor device_w = on_device(w), device_b = on_device(b);
    const DeviceTensor y = on_device(empty(c));
    // A row of one element has no variance: eps keeps the quotient tame.
    constexpr float kEps = 1e-2f;

    layer_norm(stream(), {.x = device_x,
                          .residual = {},
                          .w = device_w,
                          .b = device_b,
                          .sum = {},
                          .y = y,
                          .eps = kEps});
    if (compare) {
      reference(LayerNormArgs{
          .x = x, .residual = {}, .w = w, .b = b, .sum = {}, .y = expected, .eps = kEps});
      expect_close(fetched(c, y), expected, tolerance_of(c.dtype));
    }
    // The sum in x's memory.
    layer_norm(stream(), {.x = device_x,
                          .residual = device_residual,
                          .w = device_w,
                          .b = device_b,
                          .sum = device_x,
                          .y = y,
                          .eps = kEps});
    if (!compare) return;
    reference(LayerNormArgs{.x = x,
                            .residual = residual,
                            .w = w,
                            .b = b,
                            .sum = expected_sum,
                            .y = expected,
                            .eps = kEps});
    expect_close(fetched(c, y), expected, tolerance_of(c.dtype));
    expect_same_bits(fetched(c, device_x), expected_sum);
  });
}

TEST_F(NormGpuTest, ABiasAndASumMayBeLeftOut) {
  const Case c{DType::kBF16, 9, 2048};
  const Tensor x = normal(c), residual = normal(c), w = weight(c), expected = empty(c);
  const DeviceTensor device_x = on_device(x), device_residual = on_device(residual);
  const DeviceTensor device_w = on_device(w), y = on_device(empty(c));
  rms_norm(stream(),
           {.x = device_x, .residual = device_residual, .w = device_w, .sum = {}, .y = y});
  reference(RmsNormArgs{.x = x, .residual = residual, .w = w, .sum = {}, .y = expected});
  expect_close(fetched(c, y), expected, tolerance_of(c.dtype));
  expect_same_bits(fetched(c, device_residual), residual);
  layer_norm(
      stream(),
      {.x = device_x, .residual = device_residual, .w = device_w, .b = {}, .sum = {}, .y = y});
  reference(LayerNormArgs{.x = x, .residual = residual, .w = w, .b = {}, .sum = {}, .y = expected});
  expect_close(fetched(c, y), expected, tolerance_of(c.dtype));
}

// A row's result must not depend on how many rows there are: batches are put together differently
// from step to step.
TEST_F(NormGpuTest, ARowDoesNotDependOnOthers) {
  const Case c{DType::kBF16, 600, 4096};
  const Tensor x = normal(c), w = weight(c);
  const DeviceTensor device_x = on_device(x), device_w = on_device(w);
  const DeviceTensor all = on_device(empty(c)), one = on_device(empty(c));
  rms_norm(stream(), {.x = device_x, .residual = {}, .w = device_w, .sum = {}, .y = all});
  for (int64_t t = 0; t < c.rows; ++t)
    rms_norm(stream(), {.x = device_x.view().slice(0, t, t + 1),
                        .residual = {},
                        .w = device_w,
                        .sum = {},
                        .y = one.view().slice(0, t, t + 1)});
  expect_same_bits(fetched(c, one), fetched(c, all));
}

}  // namespace
}  // namespace brayton::cuda
