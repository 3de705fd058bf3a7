// Elementwise ops, row copies, unpack_step and dequantize on a GPU compute what the ops mean, for
// every element type, with whole vectors and without, strided rows and shared memory.
#include "backends/cuda/kernels/activation.h"
#include "backends/cuda/kernels/dequantize.h"
#include "backends/cuda/kernels/elementwise.h"
#include "backends/cuda/kernels/gpu_test.h"
#include "backends/cuda/kernels/row_copies.h"
#include "backends/cuda/kernels/step_inputs.h"
#include "ops/quant_blocks.h"

namespace brayton::cuda {
namespace {

using testing::expect_close;
using testing::expect_same_bits;
using testing::normal_tensor;
using testing::Tensor;
using testing::Tolerance;

constexpr DType kFloats[] = {DType::kF32, DType::kF16, DType::kBF16};
constexpr ActivationKind kKinds[] = {ActivationKind::kSilu, ActivationKind::kGelu,
                                     ActivationKind::kGeluTanh, ActivationKind::kRelu};

// The functions' own error, then the rounding.
Tolerance tolerance_of(DType dtype) {
  return dtype == DType::kF32 ? Tolerance{1e-6, 2e-6} : rounding_tolerance(dtype, 0.1);
}

class SmallOpsGpuTest : public GpuTest {
 protected:
  struct Sizes {
    int64_t rows, width, gap;  // elements between rows
  };
  // Kernels are compiled side by side when the body ran once to plan them.
  template <class Body>
  void planned(const Body& body) {
    backend().begin_planning();
    body(false);
    backend().end_planning({});
    body(true);
  }
  // Vectors, strided and not, more than a block's; single elements: odd widths, odd addresses.
  template <class Body>
  void for_sizes(const Body& body) {
    constexpr Sizes kSizes[] = {{1, 512, 0}, {70, 72, 8}, {5, 72, 3}, {9, 37, 0}, {400, 512, 16}};
    planned([&](bool compare) {
      for (const DType dtype : kFloats)
        for (const Sizes& sizes : kSizes) {
          SCOPED_TRACE(
              format("{} [{}, {}], gap {}", dtype_name(dtype), sizes.rows, sizes.width, sizes.gap));
          body(dtype, sizes, compare);
        }
    });
  }
  // What the device has for a tensor like `host`, into `host`.
  const Tensor& fetch(const DeviceTensor& tensor, const Tensor& host) {
    stream().synchronize();
    tensor.download(host);
    return host;
  }
};

TEST_F(SmallOpsGpuTest, Activation) {
  for_sizes([&](DType dtype, const Sizes& sizes, bool compare) {
    for (const ActivationKind kind : kKinds) {
      SCOPED_TRACE(activation_name(kind));
      const Shape shape{sizes.rows, sizes.width};
      const Tensor x = normal_tensor(dtype, shape, random_, 4.0f, sizes.gap);
      const Tensor expected(dtype, shape), y(dtype, shape, sizes.gap);
      const DeviceTensor device_x = on_device(x);
      activation(stream(), {.x = device_x, .y = device_x, .kind = kind});
      if (!compare) continue;
      reference(ActivationArgs{.x = x, .y = expected, .kind = kind});
      expect_close(fetch(device_x, y), expected, tolerance_of(dtype));
    }
  });
}

TEST_F(SmallOpsGpuTest, ActivationOverTheWholeRange) {
  std::vector<float> inputs;
  for (float magnitude = 1e-30f; magnitude < 1e30f; magnitude *= 1.7f) {
    inputs.push_back(magnitude);
    inputs.push_back(-magnitude);
  }
  for (float x = -20.0f; x < 20.0f; x += 0.001f) inputs.push_back(x);
  inputs.resize(inputs.size() / 8 * 8);
  const auto count = static_cast<int64_t>(inputs.size());
  const Tensor x = Tensor::of({1, count}, inputs);
  for (const ActivationKind kind : kKinds) {
    SCOPED_TRACE(activation_name(kind));
    const Tensor y(DType::kF32, {1, count}), expected(DType::kF32, {1, count});
    const DeviceTensor device_x = on_device(x), device_y = on_device(y);
    activation(stream(), {.x = device_x, .y = device_y, .kind = kind});
    reference(ActivationArgs{.x = x, .y = expected, .kind = kind});
    expect_close(fetch(device_y, y), expected, {3e-7, 1e-6});
  }
}

TEST_F(SmallOpsGpuTest, GatedActivation) {
  for_sizes([&](DType dtype, const Sizes& sizes, bool compare) {
    for (const ActivationKind kind : kKinds) {
      SCOPED_TRACE(activation_name(kind));
      const Tensor x =
          normal_tensor(dtype, {sizes.rows, 2 * sizes.width}, random_, 2.0f, sizes.gap);
      const Tensor y(dtype, {sizes.rows, sizes.width}, sizes.gap);
      const Tensor expected(dtype, {sizes.rows, sizes.width});
      const DeviceTensor device_x = on_device(x), device_y = on_device(y);
      gated_activation(stream(), {.x = device_x, .y = device_y, .kind = kind});
      if (!compare) continue;
      reference(GatedActivationArgs{.x = x, .y = expected, .kind = kind});
      expect_close(fetch(device_y, y), expected, tolerance_of(dtype));
    }
  });
}

TEST_F(SmallOpsGpuTest, BinaryAndScale) {
  for_sizes([&](DType dtype, const Sizes& sizes, bool compare) {
    const Shape shape{sizes.rows, sizes.width};
    const Tensor a = normal_tensor(dtype, shape, random_, 1.0f, sizes.gap);
    const Tensor same = normal_tensor(dtype, shape, random_, 1.0f, 2 * sizes.gap);
    const Tensor row = normal_tensor(dtype, {sizes.width}, random_);
    const Tensor weight = normal_tensor(DType::kF32, {sizes.width}, random_);
    const Tensor y(dtype, shape, sizes.gap), expected(dtype, shape);
    const DeviceTensor device_a = on_device(a), device_y = on_device(y);
    for (const Tensor* second : {&same, &row, &weight})
      for (const BinaryKind kind : {BinaryKind::kAdd, BinaryKind::kMul}) {
        SCOPED_TRACE(format("kind {}, b {} {}", static_cast<int>(kind),
                            dtype_name(second->view().dtype), second->view().shape.str()));
        const DeviceTensor device_b = on_device(*second);
        binary(stream(), {.a = device_a, .b = device_b, .y = device_y, .kind = kind});
        if (!compare) continue;
        reference(BinaryArgs{.a = a, .b = *second, .y = expected, .kind = kind});
        expect_same_bits(fetch(device_y, y), expected);
      }
    scale(stream(), {.a = device_a, .y = device_a, .factor = -1.7f});
    if (!compare) return;
    reference(ScaleArgs{.a = a, .y = expected, .factor = -1.7f});
    expect_same_bits(fetch(device_a, y), expected);
  });
}

TEST_F(SmallOpsGpuTest, EmbeddingConvertsAnyTable) {
  planned([&](bool compare) {
    for (const DType table_type : kFloats)
      for (const DType dtype : kFloats)
        for (const int64_t width : {64, 37}) {
          SCOPED_TRACE(
              format("{} to {}, width {}", dtype_name(table_type), dtype_name(dtype), width));
          const Tensor table = normal_tensor(table_type, {11, width}, random_);
          Tensor ids(DType::kI32, {300});
          for (int64_t t = 0; t < 300; ++t)
            ids.view().as<int32_t>()[t] = static_cast<int32_t>(random_() % 11);
          const Tensor y(dtype, {300, width}, 8), expected(dtype, {300, width});
          const DeviceTensor device_table = on_device(table), device_ids = on_device(ids);
          const DeviceTensor device_y = on_device(y);
          embedding(stream(), {.ids = device_ids, .table = device_table, .y = device_y});
          if (!compare) continue;
          reference(EmbeddingArgs{.ids = ids, .table = table, .y = expected});
          expect_same_bits(fetch(device_y, y), expected);
        }
  });
}

TEST_F(SmallOpsGpuTest, GatherRows) {
  for_sizes([&](DType dtype, const Sizes& sizes, bool compare) {
    const Tensor x = normal_tensor(dtype, {sizes.rows, sizes.width}, random_, 1.0f, sizes.gap);
    Tensor rows(DType::kI32, {17});
    for (int64_t r = 0; r < 17; ++r)
      rows.view().as<int32_t>()[r] =
          static_cast<int32_t>(random_() % static_cast<uint32_t>(sizes.rows));
    const Tensor y(dtype, {17, sizes.width}), expected(dtype, {17, sizes.width});
    const DeviceTensor device_x = on_device(x), device_rows = on_device(rows);
    const DeviceTensor device_y = on_device(y);
    gather_rows(stream(), {.x = device_x, .rows = device_rows, .y = device_y});
    if (!compare) return;
    reference(GatherRowsArgs{.x = x, .rows = rows, .y = expected});
    expect_same_bits(fetch(device_y, y), expected);
  });
}

TEST_F(SmallOpsGpuTest, RowsThatAreNotThereBecomeNan) {
  const Tensor table = normal_tensor(DType::kF16, {4, 8}, random_);
  const std::vector<int32_t> ids{-1, 3, 4, 0, INT32_MIN, INT32_MAX};
  const Tensor y = normal_tensor(DType::kBF16, {6, 8}, random_);
  const DeviceTensor device_table = on_device(table), device_ids = on_device(Tensor::of_i32(ids));
  const DeviceTensor device_y = on_device(y);
  embedding(stream(), {.ids = device_ids, .table = device_table, .y = device_y});
  fetch(device_y, y);
  for (int64_t t = 0; t < 6; ++t) {
    const int32_t id = ids[static_cast<size_t>(t)];
    for (int64_t i = 0; i < 8; ++i)
      EXPECT_EQ(std::isnan(load_float(y, t, i)), id < 0 || id > 3) << "row " << t << ", id " << id;
  }
}

// A step's inputs on the host, and on the device in arrays of fixed capacity.
class UnpackStepGpuTest : public GpuTest {
 protected:
  static constexpr int32_t kUntouched = 123456;
  static constexpr int64_t kMaxTokens = 600, kMaxSequences = 300, kMaxBlocks = 70, kSlots = 256;

  struct Real {
    int64_t tokens, sequences, rows, columns;
  };
  struct Padded {
    int64_t tokens, sequences, rows;
  };

  static Tensor untouched(const Shape& shape) {
    return Tensor::of_i32(shape,
                          std::vector<int32_t>(static_cast<size_t>(shape.elements()), kUntouched));
  }
  int32_t below(uint32_t limit) { return static_cast<int32_t>(random_() % limit); }

  std::vector<int32_t> packed(const Real& real) {
    std::vector<int32_t> list{static_cast<int32_t>(real.tokens),
                              static_cast<int32_t>(real.sequences), static_cast<int32_t>(real.rows),
                              static_cast<int32_t>(real.columns)};
    for (int64_t t = 0; t < real.tokens; ++t)  // every other token was sampled on the device
      list.push_back(t % 2 == 0 ? below(128000) : -1 - below(kSlots));
    const int64_t others =
        real.tokens + real.rows + 3 * real.sequences + 1 + real.sequences * real.columns;
    for (int64_t i = 0; i < others; ++i) list.push_back(below(100000));
    return list;
  }

  std::vector<Tensor> arrays() {
    std::vector<Tensor> list;
    for (const int64_t size :
         {kMaxTokens, kMaxTokens, kMaxTokens, kMaxSequences + 1, kMaxSequences, kMaxSequences})
      list.push_back(untouched({size}));
    list.push_back(untouched({kMaxSequences, kMaxBlocks}));
    return list;
  }
  template <class Arrays>
  static UnpackStepArgs args_of(const TensorView& packed, const TensorView& sampled,
                                const Arrays& arrays, const Padded& padded) {
    return {.packed = packed,
            .sampled = sampled,
            .token_ids = arrays[0],
            .positions = arrays[1],
            .logit_rows = arrays[2],
            .query_offsets = arrays[3],
            .kv_lengths = arrays[4],
            .slots = arrays[5],
            .block_table = arrays[6],
            .tokens = padded.tokens,
            .sequences = padded.sequences,
            .rows = padded.rows,
            .scratch_block = 777};
  }
  void expect_as_reference(const Real& real, const Padded& padded) {
    SCOPED_TRACE(format("T {} of {}, S {} of {}, R {} of {}, {} columns", real.tokens,
                        padded.tokens, real.sequences, padded.sequences, real.rows, padded.rows,
                        real.columns));
    const Tensor list = Tensor::of_i32(packed(real));
    std::vector<int32_t> drawn(kSlots);
    for (int32_t& token : drawn) token = below(128000);
    const Tensor sampled = Tensor::of_i32(drawn);
    const std::vector<Tensor> expected = arrays(), actual = arrays();
    std::vector<DeviceTensor> device;
    for (const Tensor& array : actual) device.push_back(on_device(array));
    const DeviceTensor device_list = on_device(list), device_sampled = on_device(sampled);
    unpack_step(stream(), args_of(device_list, device_sampled, device, padded));
    reference(args_of(list, sampled, expected, padded));
    stream().synchronize();
    constexpr const char* kNames[] = {"token_ids",  "positions", "logit_rows", "query_offsets",
                                      "kv_lengths", "slots",     "block_table"};
    for (size_t i = 0; i < device.size(); ++i) {
      device[i].download(actual[i]);
      for (int64_t at = 0; at < actual[i].view().elements(); ++at)
        ASSERT_EQ(actual[i].view().as<int32_t>()[at], expected[i].view().as<int32_t>()[at])
            << kNames[i] << ", element " << at;
    }
  }
};

TEST_F(UnpackStepGpuTest, FillsAndPads) {
  expect_as_reference({1, 1, 1, 1}, {1, 1, 1});       // one sequence decodes
  expect_as_reference({3, 3, 3, 5}, {8, 8, 8});       // three in a graph for eight
  expect_as_reference({500, 2, 1, 40}, {500, 2, 1});  // prompts
  expect_as_reference({256, 256, 256, 64}, {256, 256, 256});
  expect_as_reference({200, 190, 3, 64}, {210, 200, 16});
  expect_as_reference({7, 5, 0, 0}, {7, 5, 0});  // nothing sampled, no cache
}

TEST_F(UnpackStepGpuTest, AnIdOfNoSlotStaysNegative) {
  const Tensor list = Tensor::of_i32({1, 1, 1, 1, -5, 9, 0, 0, 1, 10, 2, 3});
  std::vector<DeviceTensor> device;
  const std::vector<Tensor> host = arrays();
  for (const Tensor& array : host) device.push_back(on_device(array));
  const DeviceTensor device_list = on_device(list);
  unpack_step(stream(), args_of(device_list, TensorView(), device, {1, 1, 1}));
  stream().synchronize();
  device[0].download(host[0]);
  EXPECT_EQ(host[0].view().as<int32_t>()[0], -5);
}

// Where float16 fields lie in a block: random bytes there could be infinite.
std::vector<size_t> half_fields(DType format) {
  switch (format) {
    case DType::kQ4_1:
    case DType::kQ5_1:
    case DType::kQ4_K:
    case DType::kQ5_K:
      return {0, 2};
    case DType::kQ2_K:
      return {80, 82};
    case DType::kQ3_K:
      return {108};
    case DType::kQ6_K:
      return {208};
    default:
      return {0};
  }
}

TEST_F(SmallOpsGpuTest, DequantizesBitForBit) {
  planned([&](bool compare) {
    for (const DType blocks_type :
         {DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1, DType::kQ8_0, DType::kQ2_K,
          DType::kQ3_K, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K})
      for (const DType dtype : kFloats) {
        SCOPED_TRACE(format("{} to {}", dtype_name(blocks_type), dtype_name(dtype)));
        constexpr int64_t kElements = 256 * 333;
        const Tensor blocks(blocks_type, {1, kElements});
        const int64_t bytes = blocks.view().bytes();
        auto* data = blocks.view().as<uint8_t>();
        for (int64_t i = 0; i < bytes; ++i) data[i] = static_cast<uint8_t>(random_());
        for (int64_t block = 0; block < bytes; block += dtype_info(blocks_type).block_bytes)
          for (const size_t field : half_fields(blocks_type)) {
            uint8_t& high = data[block + static_cast<int64_t>(field) + 1];
            if ((high & 0x7c) == 0x7c) high &= 0xbf;
          }
        const Tensor y(dtype, {1, kElements}), expected(dtype, {1, kElements});
        const DeviceTensor device_blocks = on_device(blocks), device_y = on_device(y);
        dequantize(cuda(), device_blocks.view().data, blocks_type, kElements, dtype,
                   device_y.view().data);
        if (!compare) continue;
        std::vector<float> numbers(kElements);
        to_f32(blocks_type, data, kElements, numbers.data());
        from_f32(dtype, numbers.data(), kElements, expected.view().data);
        expect_same_bits(fetch(device_y, y), expected);
      }
  });
}

}  // namespace
}  // namespace brayton::cuda
