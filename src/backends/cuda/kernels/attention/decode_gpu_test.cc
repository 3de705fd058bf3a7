// attention_decode gives what the reference gives, for ragged lengths, all head sizes, groups,
// block sizes and score rules; never reads what the sequence does not see; and is bit-equal from
// run to run.
#include <numeric>

#include "backends/cuda/kernels/attention/attention_shape.h"
#include "backends/cuda/kernels/attention/decode.h"
#include "backends/cuda/kernels/gpu_test.h"

namespace brayton::cuda {
namespace {

using testing::normal_tensor;
using testing::Tensor;
using testing::Tolerance;
using testing::values;

struct Sizes {
  const char* name;
  DType dtype = DType::kBF16;
  int64_t heads = 32;
  int64_t kv_heads = 8;
  int64_t head_dim = 128;
  int64_t block_size = 64;
  int64_t window = 0;
  bool alibi = false;
  float softcap = 0.0f;
  DType cache_dtype = dtype;
};

constexpr Sizes kLlama{.name = "llama 3 8B"};

// Probabilities and results are rounded once each; in units of the results' typical size.
Tolerance decode_tolerance(DType dtype, double typical) {
  if (dtype == DType::kF32) return {1e-5 * typical, 1e-5};
  return dtype == DType::kF16 ? Tolerance{0x1p-10 * typical, 0x1p-10}
                              : Tolerance{0x1p-7 * typical, 0x1p-7};
}

double root_mean_square(const std::vector<float>& list) {
  double sum = 0.0;
  for (const float x : list) sum += double{x} * x;
  return std::sqrt(sum / static_cast<double>(list.size()));
}

// A step whose keys and values lie in the cache already. Everything that no token may see is NaN,
// and table entries that nobody needs are out of range.
class Step {
 public:
  Step(const Sizes& sizes, const std::vector<int32_t>& lengths, std::mt19937& random,
       int64_t columns = 1)
      : sizes_(sizes), lengths_(lengths) {
    const auto sequences = static_cast<int64_t>(lengths.size());
    for (const int32_t length : lengths)
      columns = std::max(columns, (length + sizes.block_size - 1) / sizes.block_size);
    int64_t used = 0;
    for (const int32_t length : lengths) used += (length + sizes.block_size - 1) / sizes.block_size;
    std::vector<int32_t> free(used + 2);
    std::iota(free.begin(), free.end(), 0);
    std::shuffle(free.begin(), free.end(), random);

    qkv = normal_tensor(sizes.dtype, {sequences, sizes.heads + 2 * sizes.kv_heads, sizes.head_dim},
                        random);
    cache =
        Tensor(sizes.cache_dtype, {used + 2, 2, sizes.kv_heads, sizes.block_size, sizes.head_dim});
    y = Tensor(sizes.dtype, {sequences, sizes.heads, sizes.head_dim});
    std::vector<int32_t> offsets(sequences + 1), table(sequences * columns, -1);
    std::iota(offsets.begin(), offsets.end(), 0);
    std::normal_distribution<float> normal;
    for (int64_t s = 0; s < sequences; ++s) {
      const int64_t first = sizes.window > 0 ? std::max<int64_t>(0, lengths[s] - sizes.window) : 0;
      for (int64_t column = first / sizes.block_size; column * sizes.block_size < lengths[s];
           ++column) {
        const int32_t block = free.back();
        free.pop_back();
        table[s * columns + column] = block;
        for (int64_t slot = 0; slot < sizes.block_size; ++slot) {
          const int64_t position = column * sizes.block_size + slot;
          if (position < first || position >= lengths[s]) continue;
          for (int64_t half_head = 0; half_head < 2 * sizes.kv_heads; ++half_head) {
            const int64_t row = (block * 2 * sizes.kv_heads + half_head) * sizes.block_size + slot;
            for (int64_t i = 0; i < sizes.head_dim; ++i)
              store_float(sizes.cache_dtype, cache.view().data, row * sizes.head_dim + i,
                          normal(random));
          }
        }
      }
    }
    query_offsets = Tensor::of_i32(offsets);
    kv_lengths = Tensor::of_i32(lengths);
    block_table = Tensor::of_i32({sequences, columns}, table);
    slopes = Tensor(DType::kF32, {sizes.heads});
    for (int64_t h = 0; h < sizes.heads; ++h)
      slopes.view().as<float>()[h] = std::exp2(-0.5f * static_cast<float>(h % 16 + 1));
  }

  AttentionArgs args() const {
    AttentionArgs result;
    result.q = qkv.view().slice(1, 0, sizes_.heads);
    result.cache = cache;
    result.query_offsets = query_offsets;
    result.kv_lengths = kv_lengths;
    result.block_table = block_table;
    if (sizes_.alibi) result.slopes = slopes;
    result.y = y;
    result.scale = 1.5f / std::sqrt(static_cast<float>(sizes_.head_dim));
    result.window = sizes_.window;
    result.softcap = sizes_.softcap;
    result.decodes = static_cast<int64_t>(lengths_.size());
    return result;
  }
  // Of sequence s alone.
  std::vector<float> expected(int64_t s) const {
    const Tensor offsets = Tensor::of_i32({0, 1});
    const Tensor result(sizes_.dtype, {1, sizes_.heads, sizes_.head_dim});
    AttentionArgs one = args();
    one.q = one.q.slice(0, s, s + 1);
    one.query_offsets = offsets;
    one.kv_lengths = one.kv_lengths.slice(0, s, s + 1);
    one.block_table = one.block_table.slice(0, s, s + 1);
    one.y = result;
    one.decodes = 1;
    // With a window the reference's check wants the older blocks as well; it does not read them.
    const Tensor table(DType::kI32, one.block_table.shape);
    for (int64_t c = 0; c < table.view().dim(1); ++c)
      table.view().as<int32_t>()[c] = std::max(0, one.block_table.as<int32_t>()[c]);
    one.block_table = table;
    reference(one);
    return values(result);
  }

  Tensor qkv, cache, query_offsets, kv_lengths, block_table, slopes, y;

 private:
  Sizes sizes_;
  std::vector<int32_t> lengths_;
};

class DecodeGpuTest : public GpuTest {
 protected:
  // The step's copy on the device.
  struct OnDevice {
    DeviceTensor qkv, cache, query_offsets, kv_lengths, block_table, slopes, y;
    AttentionArgs args;
    OnDevice(DecodeGpuTest& test, const Step& step)
        : qkv(test.on_device(step.qkv)),
          cache(test.on_device(step.cache)),
          query_offsets(test.on_device(step.query_offsets)),
          kv_lengths(test.on_device(step.kv_lengths)),
          block_table(test.on_device(step.block_table)),
          slopes(test.on_device(step.slopes)),
          y(test.on_device(step.y)),
          args(step.args()) {
      args.q = qkv.view().slice(1, 0, args.q.dim(1));
      args.cache = cache;
      args.query_offsets = query_offsets;
      args.kv_lengths = kv_lengths;
      args.block_table = block_table;
      if (args.slopes) args.slopes = slopes;
      args.y = y;
    }
  };

  std::vector<float> decode(const OnDevice& device, const Step& step) {
    attention_decode(cuda(), device.args);
    stream().synchronize();
    const Tensor result(step.y.view().dtype, step.y.view().shape);
    device.y.download(result);
    return values(result);
  }

  // `sample`: of so many sequences the results are compared.
  void run(const Sizes& sizes, const std::vector<int32_t>& lengths, size_t sample = 1000) {
    SCOPED_TRACE(sizes.name);
    const Step step(sizes, lengths, random_);
    const OnDevice device(*this, step);
    compare(sizes, lengths, step, decode(device, step), sample);
  }
  void compare(const Sizes& sizes, const std::vector<int32_t>& lengths, const Step& step,
               const std::vector<float>& actual, size_t sample = 1000) {
    std::vector<size_t> order(lengths.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::shuffle(order.begin(), order.end(), random_);
    order.resize(std::min(sample, order.size()));
    const auto width = static_cast<size_t>(sizes.heads * sizes.head_dim);
    for (const size_t s : order) {
      SCOPED_TRACE(format("sequence {} of length {}; an element is head * {} + dimension", s,
                          lengths[s], sizes.head_dim));
      const std::vector<float> expected = step.expected(static_cast<int64_t>(s));
      testing::expect_close({actual.begin() + static_cast<ptrdiff_t>(s * width),
                             actual.begin() + static_cast<ptrdiff_t>((s + 1) * width)},
                            expected, decode_tolerance(sizes.dtype, root_mean_square(expected)));
    }
  }
};

TEST_F(DecodeGpuTest, LengthsAroundChunks) {
  run(kLlama, {1, 2, 15, 16, 17, 31, 63, 64, 65, 100, 127, 128, 129, 200, 513, 1024});
}

TEST_F(DecodeGpuTest, OneSequence) {
  for (const int32_t length : {1, 16, 65, 1000}) run(kLlama, {length});
}

TEST_F(DecodeGpuTest, OneLongSequence) { run(kLlama, {9001}); }

TEST_F(DecodeGpuTest, ManySequences) {
  std::vector<int32_t> lengths;
  for (int i = 0; i < 300; ++i) lengths.push_back(1 + static_cast<int32_t>(random_() % 150));
  for (size_t i = 0; i < 100; ++i) lengths[3 * i] = 1;  // as padding in a graph
  lengths[7] = 2000;
  run(kLlama, lengths, 20);
}

TEST_F(DecodeGpuTest, LongBatch) { run(kLlama, std::vector<int32_t>(12, 2048), 2); }

TEST_F(DecodeGpuTest, WholeUnits) {
  run(kLlama, std::vector<int32_t>(64, 256), 4);
  run(kLlama, std::vector<int32_t>(40, 250), 4);
  run(kLlama, std::vector<int32_t>(40, 1), 4);
}

TEST_F(DecodeGpuTest, SameLaunchOtherLengths) {
  // What a captured graph does: lengths and tables change in place.
  std::vector<int32_t> lengths = {700, 3, 64, 290, 1, 1024, 77};
  const Step first(kLlama, lengths, random_, 16);
  const OnDevice device(*this, first);
  const std::vector<float> once = decode(device, first);
  compare(kLlama, lengths, first, once);
  for (int round = 0; round < 3; ++round) {
    for (int32_t& length : lengths) length = 1 + static_cast<int32_t>(random_() % 1024);
    const Step next(kLlama, lengths, random_, 16);
    OnDevice other(*this, next);
    EXPECT_EQ(other.args.block_table.dim(1), device.args.block_table.dim(1));
    const std::vector<float> result = decode(other, next);
    compare(kLlama, lengths, next, result);
    EXPECT_EQ(decode(other, next), result) << "bit-equal from run to run";
  }
  EXPECT_EQ(decode(device, first), once) << "bit-equal from run to run";
}

TEST_F(DecodeGpuTest, LeavesOtherSequencesAlone) {
  const std::vector<int32_t> lengths = {100, 200, 300, 400};
  const Step step(kLlama, lengths, random_);
  OnDevice device(*this, step);
  device.args.decodes = 2;
  const std::vector<float> result = decode(device, step);
  const size_t half = result.size() / 2;
  for (size_t i = half; i < result.size(); ++i) ASSERT_TRUE(std::isnan(result[i])) << i;
  compare(kLlama, {100, 200}, step,
          {result.begin(), result.begin() + static_cast<ptrdiff_t>(half)});
}

TEST_F(DecodeGpuTest, HeadSizesGroupsAndBlocks) {
  const std::vector<int32_t> lengths = {1, 37, 130, 300, 64, 33};
  run({.name = "64, no groups, blocks of 16",
       .dtype = DType::kF16,
       .heads = 6,
       .kv_heads = 6,
       .head_dim = 64,
       .block_size = 16,
       .window = 50},
      lengths);
  run({.name = "64, tiles of 32 keys",
       .heads = 16,
       .kv_heads = 2,
       .head_dim = 64,
       .window = 100,
       .alibi = true},
      lengths);
  run({.name = "80, blocks of 4",
       .heads = 6,
       .kv_heads = 2,
       .head_dim = 80,
       .block_size = 4,
       .alibi = true},
      lengths);
  run({.name = "96, groups of 16",
       .dtype = DType::kF16,
       .heads = 32,
       .kv_heads = 2,
       .head_dim = 96,
       .block_size = 128,
       .softcap = 2.0f},
      lengths);
  run({.name = "256, softcap and window",
       .heads = 8,
       .kv_heads = 4,
       .head_dim = 256,
       .window = 64,
       .softcap = 3.0f},
      lengths);
  run({.name = "256, groups of 8",
       .dtype = DType::kF16,
       .heads = 8,
       .kv_heads = 1,
       .head_dim = 256,
       .block_size = 32},
      lengths);
  run({.name = "32, groups of 17, blocks of 7",
       .dtype = DType::kF16,
       .heads = 17,
       .kv_heads = 1,
       .head_dim = 32,
       .block_size = 7,
       .window = 90,
       .alibi = true},
      lengths);
  run({.name = "64, groups of 71, blocks of 24",
       .heads = 71,
       .kv_heads = 1,
       .head_dim = 64,
       .block_size = 24},
      lengths);
  run({.name = "48, groups of 12", .heads = 24, .kv_heads = 2, .head_dim = 48}, lengths);
}

TEST_F(DecodeGpuTest, OtherTypesAndSizes) {
  const std::vector<int32_t> lengths = {1, 37, 130, 4, 64, 33};
  run({.name = "float", .dtype = DType::kF32, .heads = 8, .kv_heads = 2}, lengths);
  run({.name = "float, bfloat16 cache, odd size",
       .dtype = DType::kF32,
       .heads = 3,
       .kv_heads = 1,
       .head_dim = 21,
       .block_size = 3,
       .softcap = 2.0f,
       .cache_dtype = DType::kBF16},
      lengths);
  run({.name = "bfloat16, 72",
       .heads = 4,
       .kv_heads = 4,
       .head_dim = 72,
       .block_size = 16,
       .window = 20,
       .alibi = true},
      lengths);
}

}  // namespace
}  // namespace brayton::cuda
