// append_kv and rope on the GPU give what their references give, for ragged batches, all types and
// layouts, and write nothing but q and the slots of this step's tokens.
#include "backends/cuda/kernels/append_kv.h"
#include "backends/cuda/kernels/gpu_test.h"
#include "backends/cuda/kernels/rope.h"

namespace brayton::cuda {
namespace {

using testing::normal_tensor;
using testing::Tensor;
using testing::Tolerance;
using testing::values;

// A sine may be wrong by 2e-7, a norm by 1e-6, and a result by a unit in the last place.
Tolerance turned_tolerance(DType dtype, bool norm = false) {
  if (dtype == DType::kF32) return norm ? Tolerance{1e-5, 2e-6} : Tolerance{2e-6, 1e-6};
  return dtype == DType::kF16 ? Tolerance{1e-5, 0x1p-10} : Tolerance{1e-5, 0x1p-7};
}

// As expect_close, but what has not been written is NaN on both sides.
void expect_close_or_unwritten(const TensorView& actual, const TensorView& expected,
                               Tolerance tolerance) {
  std::vector<float> a = values(actual);
  std::vector<float> e = values(expected);
  for (size_t i = 0; i < a.size(); ++i)
    if (std::isnan(a[i]) && std::isnan(e[i])) a[i] = e[i] = 0.0f;
  testing::expect_close(a, e, tolerance);
}

Tensor frequencies(int64_t pairs) {
  std::vector<float> list;
  for (int64_t p = 0; p < pairs; ++p)
    list.push_back(std::pow(10000.0f, -static_cast<float>(p) / static_cast<float>(pairs)));
  return Tensor::of({pairs}, list);
}

struct Sizes {
  const char* name;
  DType dtype = DType::kBF16;
  DType cache_dtype = DType::kBF16;
  int64_t heads = 4;
  int64_t kv_heads = 2;
  int64_t head_dim = 64;
  int64_t pairs = 32;
  int64_t block_size = 16;
  bool interleaved = false;
  float scale = 1.0f;
  bool q_norm = false;
  bool k_norm = false;
};

struct SequenceStep {
  int32_t tokens;
  int32_t cached;
};

class AppendKvGpuTest : public GpuTest {
 protected:
  // `padding`: rows behind those of all sequences. While the backend plans, nothing is compared.
  void run(const Sizes& sizes, const std::vector<SequenceStep>& steps, int64_t padding = 0,
           int32_t first_position = 0) {
    SCOPED_TRACE(sizes.name);
    std::vector<int32_t> offsets{0}, lengths, positions;
    int64_t columns = 1;
    for (const SequenceStep& step : steps) {
      offsets.push_back(offsets.back() + step.tokens);
      lengths.push_back(step.cached + step.tokens);
      columns = std::max(columns, (lengths.back() + sizes.block_size - 1) / sizes.block_size);
      for (int32_t i = 0; i < step.tokens; ++i)
        positions.push_back(first_position + step.cached + i);
    }
    const int64_t tokens = offsets.back() + padding;
    const auto sequences = static_cast<int64_t>(steps.size());
    positions.resize(tokens, 123456789);

    // Blocks in random order; entries that nothing needs are out of range.
    const int64_t blocks = sequences * columns + 2;
    std::vector<int32_t> free(blocks), table(sequences * columns, -1);
    for (int64_t b = 0; b < blocks; ++b) free[b] = static_cast<int32_t>(b);
    std::shuffle(free.begin(), free.end(), random_);
    for (int64_t s = 0; s < sequences; ++s)
      for (int64_t c = 0; c * sizes.block_size < lengths[s]; ++c) {
        table[s * columns + c] = free.back();
        free.pop_back();
      }

    const Tensor qkv = normal_tensor(
        sizes.dtype, {tokens, sizes.heads + 2 * sizes.kv_heads, sizes.head_dim}, random_);
    const Tensor cache(sizes.cache_dtype,
                       {blocks, 2, sizes.kv_heads, sizes.block_size, sizes.head_dim});
    const Tensor position_tensor = Tensor::of_i32(positions);
    const Tensor inv_freq = frequencies(std::max<int64_t>(sizes.pairs, 1));
    const Tensor q_norm = normal_tensor(DType::kF32, {sizes.head_dim}, random_);
    const Tensor k_norm = normal_tensor(DType::kF32, {sizes.head_dim}, random_);
    const Tensor offset_tensor = Tensor::of_i32(offsets);
    const Tensor length_tensor = Tensor::of_i32(lengths);
    const Tensor table_tensor = Tensor::of_i32({sequences, columns}, table);

    const DeviceTensor device_qkv = on_device(qkv);
    const DeviceTensor device_cache = on_device(cache);
    const DeviceTensor device_positions = on_device(position_tensor);
    const DeviceTensor device_freq = on_device(inv_freq);
    const DeviceTensor device_q_norm = on_device(q_norm);
    const DeviceTensor device_k_norm = on_device(k_norm);
    const DeviceTensor device_offsets = on_device(offset_tensor);
    const DeviceTensor device_lengths = on_device(length_tensor);
    const DeviceTensor device_table = on_device(table_tensor);
    const auto args = [&](const TensorView& rows, const TensorView& positions_view,
                          const TensorView& freq, const TensorView& q_weights,
                          const TensorView& k_weights, const TensorView& cache_view,
                          const TensorView& offsets_view, const TensorView& lengths_view,
                          const TensorView& table_view) {
      AppendKvArgs result{.q = rows.slice(1, 0, sizes.heads),
                          .k = rows.slice(1, sizes.heads, sizes.heads + sizes.kv_heads),
                          .v = rows.slice(1, sizes.heads + sizes.kv_heads, rows.dim(1)),
                          .positions = positions_view,
                          .inv_freq = freq,
                          .q_norm = q_weights,
                          .k_norm = k_weights,
                          .cache = cache_view,
                          .query_offsets = offsets_view,
                          .kv_lengths = lengths_view,
                          .block_table = table_view,
                          .interleaved = sizes.interleaved,
                          .scale = sizes.scale,
                          .norm_eps = 0.1f};
      if (!sizes.q_norm) result.q_norm = {};
      if (!sizes.k_norm) result.k_norm = {};
      if (sizes.pairs == 0) result.positions = result.inv_freq = {};
      return result;
    };
    append_kv(stream(),
              args(device_qkv, device_positions, device_freq, device_q_norm, device_k_norm,
                   device_cache, device_offsets, device_lengths, device_table));
    if (planning_) return;
    stream().synchronize();
    const Tensor actual_qkv(sizes.dtype, qkv.view().shape);
    const Tensor actual_cache(sizes.cache_dtype, cache.view().shape);
    device_qkv.download(actual_qkv);
    device_cache.download(actual_cache);

    reference(args(qkv, position_tensor, inv_freq, q_norm, k_norm, cache, offset_tensor,
                   length_tensor, table_tensor));
    const auto part = [&](const Tensor& x, int64_t begin, int64_t end) {
      return values(x.view().slice(1, begin, end));
    };
    // Exact where neither norm nor rotation changes anything.
    const auto tolerance = [&](DType dtype, bool norm) {
      return sizes.pairs == 0 && !norm ? Tolerance{} : turned_tolerance(dtype, norm);
    };
    {
      SCOPED_TRACE("q");
      testing::expect_close(part(actual_qkv, 0, sizes.heads), part(qkv, 0, sizes.heads),
                            tolerance(sizes.dtype, sizes.q_norm));
    }
    {
      SCOPED_TRACE("v, behind q and k");
      const int64_t begin = sizes.heads + sizes.kv_heads;
      testing::expect_close(part(actual_qkv, begin, begin + sizes.kv_heads),
                            part(qkv, begin, begin + sizes.kv_heads), {});
    }
    {
      SCOPED_TRACE("cache, keys");
      expect_close_or_unwritten(
          actual_cache.view().slice(1, 0, 1), cache.view().slice(1, 0, 1),
          tolerance(sizes.cache_dtype == DType::kF32 ? sizes.dtype : sizes.cache_dtype,
                    sizes.k_norm));
    }
    {
      SCOPED_TRACE("cache, values");
      expect_close_or_unwritten(actual_cache.view().slice(1, 1, 2), cache.view().slice(1, 1, 2),
                                {});
    }
  }
  // The same step for each. Kernels are compiled side by side as all have been planned first.
  void run_all(const std::vector<Sizes>& all, const std::vector<SequenceStep>& steps) {
    for (const bool planning : {true, false}) {
      planning_ = planning;
      if (planning) backend().begin_planning();
      for (const Sizes& sizes : all) run(sizes, steps, 2);
      if (planning) backend().end_planning({});
    }
  }

 private:
  bool planning_ = false;
};

constexpr Sizes kLlama{.name = "llama 3 8B",
                       .heads = 32,
                       .kv_heads = 8,
                       .head_dim = 128,
                       .pairs = 64,
                       .block_size = 64};

TEST_F(AppendKvGpuTest, OneToken) {
  run(kLlama, {{1, 0}});
  run(kLlama, {{1, 1000}});
}

TEST_F(AppendKvGpuTest, Decodes) {
  std::vector<SequenceStep> steps;
  for (int i = 0; i < 70; ++i) steps.push_back({1, static_cast<int32_t>(random_() % 200)});
  run(kLlama, steps);
}

TEST_F(AppendKvGpuTest, PromptsAndDecodes) {
  run(kLlama, {{1, 63}, {1, 64}, {1, 5}, {300, 0}, {0, 7}, {1, 0}, {140, 33}});
  // As many sequences as tokens, but not one each.
  run(kLlama, {{2, 10}, {0, 4}, {3, 60}, {1, 8}, {0, 0}});
}

TEST_F(AppendKvGpuTest, ManySequencesAndPadding) {
  std::vector<SequenceStep> steps;
  for (int i = 0; i < 150; ++i) {
    const auto tokens = static_cast<int32_t>(random_() % 4);
    steps.push_back({tokens, static_cast<int32_t>(random_() % 20)});
  }
  steps.push_back({1, 2});
  run({.name = "many", .heads = 8, .kv_heads = 1}, steps, 9);
}

TEST_F(AppendKvGpuTest, FarPositions) {
  run({.name = "far",
       .dtype = DType::kF32,
       .cache_dtype = DType::kF32,
       .heads = 2,
       .head_dim = 128,
       .pairs = 64},
      {{40, 3}, {1, 0}}, 0, 1'000'000);
}

TEST_F(AppendKvGpuTest, TypesAndLayouts) {
  const std::vector<SequenceStep> steps = {{1, 6}, {19, 2}, {1, 0}, {30, 11}};
  run({.name = "interleaved, partial",
       .dtype = DType::kF16,
       .cache_dtype = DType::kF16,
       .heads = 3,
       .kv_heads = 3,
       .head_dim = 256,
       .pairs = 32,
       .interleaved = true,
       .scale = 1.25f},
      steps);
  run({.name = "partial, pairs that are no multiple of 8",
       .heads = 3,
       .kv_heads = 1,
       .head_dim = 80,
       .pairs = 10,
       .block_size = 4},
      steps);
  run({.name = "odd sizes", .heads = 5, .kv_heads = 1, .head_dim = 11, .pairs = 5, .block_size = 7},
      steps);
  run({.name = "odd sizes, interleaved",
       .dtype = DType::kF32,
       .cache_dtype = DType::kBF16,
       .heads = 2,
       .kv_heads = 2,
       .head_dim = 13,
       .pairs = 5,
       .block_size = 1,
       .interleaved = true},
      steps);
  run({.name = "interleaved pairs, odd number",
       .cache_dtype = DType::kF32,
       .head_dim = 24,
       .pairs = 7,
       .interleaved = true},
      steps);
  run({.name = "no rope", .dtype = DType::kF16, .cache_dtype = DType::kF16, .pairs = 0}, steps, 2);
}

// A case with both norms, in one type.
Sizes normed(const char* name, DType dtype, int64_t head_dim, int64_t pairs,
             bool interleaved = false) {
  return {.name = name,
          .dtype = dtype,
          .cache_dtype = dtype,
          .heads = 3,
          .kv_heads = 1,
          .head_dim = head_dim,
          .pairs = pairs,
          .interleaved = interleaved,
          .scale = 1.25f,
          .q_norm = true,
          .k_norm = true};
}

TEST_F(AppendKvGpuTest, Norms) {
  const DType bf16 = DType::kBF16, f16 = DType::kF16, f32 = DType::kF32;
  std::vector<Sizes> all = {
      normed("bf16 64", bf16, 64, 32),
      normed("bf16 128", bf16, 128, 64),
      normed("bf16 256", bf16, 256, 128),
      normed("bf16 80", bf16, 80, 40),
      normed("f16 128 interleaved", f16, 128, 64, true),
      normed("f16 80 interleaved, partial", f16, 80, 20, true),
      normed("f16 256 partial", f16, 256, 32),
      normed("f32 64 interleaved, partial", f32, 64, 8, true),
      normed("f32 128", f32, 128, 64),
      normed("f32 256", f32, 256, 128),
      normed("f32 80", f32, 80, 40),
      normed("bf16 128 without rope", bf16, 128, 0),
      normed("f32 80 without rope", f32, 80, 0),
      // By single elements or a few: a lane has several units, or a vector has a pair.
      normed("bf16 80, 10 pairs", bf16, 80, 10),
      normed("bf16 80, 5 pairs", bf16, 80, 5),
      normed("bf16 13 interleaved, 5 pairs", bf16, 13, 5, true),
      normed("f32 101 interleaved, 3 pairs", f32, 101, 3, true),
      normed("f16 131 without rope", f16, 131, 0),
  };
  for (const int64_t pairs : {0, 16})
    for (const bool of_q : {false, true}) {
      Sizes one = normed(of_q ? "q alone" : "k alone", bf16, 64, pairs);
      (of_q ? one.k_norm : one.q_norm) = false;
      all.push_back(one);
    }
  Sizes rounded = normed("cache of another type", f32, 64, 32);
  rounded.cache_dtype = bf16;
  all.push_back(rounded);
  run_all(all, {{1, 6}, {19, 2}, {0, 3}, {1, 0}, {30, 11}});
}

TEST_F(AppendKvGpuTest, NormsOfPromptsAndDecodes) {
  Sizes qwen = kLlama;  // Qwen 3 8B is of the same sizes
  qwen.name = "qwen 3 8B";
  qwen.q_norm = qwen.k_norm = true;
  run(qwen, {{1, 1000}});
  run(qwen, {{1, 63}, {1, 64}, {1, 5}, {300, 0}, {0, 7}, {1, 0}, {140, 33}});
  // Several tokens a block.
  run(normed("many tokens", DType::kBF16, 64, 32), {{2700, 3}, {1, 6}, {2900, 0}});
}

class RopeGpuTest : public GpuTest {
 protected:
  void run(DType dtype, int64_t tokens, int64_t heads, int64_t head_dim, int64_t pairs,
           bool interleaved, bool in_place, int64_t row_gap) {
    SCOPED_TRACE(format("{} tokens {} heads {} dim {} pairs {} interleaved {} in place {} gap {}",
                        dtype_name(dtype), tokens, heads, head_dim, pairs, interleaved, in_place,
                        row_gap));
    const Tensor x = normal_tensor(dtype, {tokens, heads, head_dim}, random_, 1.0f, row_gap);
    std::vector<int32_t> list(tokens);
    for (int32_t& position : list) position = static_cast<int32_t>(random_() % 5000);
    const Tensor positions = Tensor::of_i32(list);
    const Tensor inv_freq = frequencies(pairs);
    const Tensor y(dtype, {tokens, heads, head_dim});
    const DeviceTensor device_x = on_device(x);
    const DeviceTensor device_y = on_device(y);
    const DeviceTensor device_positions = on_device(positions);
    const DeviceTensor device_freq = on_device(inv_freq);
    rope(stream(), {.x = device_x,
                    .positions = device_positions,
                    .inv_freq = device_freq,
                    .y = in_place ? device_x : device_y,
                    .interleaved = interleaved,
                    .scale = 0.75f});
    stream().synchronize();
    const Tensor actual(dtype, {tokens, heads, head_dim}, in_place ? row_gap : 0);
    (in_place ? device_x : device_y).download(actual);
    reference({.x = x,
               .positions = positions,
               .inv_freq = inv_freq,
               .y = y,
               .interleaved = interleaved,
               .scale = 0.75f});
    testing::expect_close(actual, y, turned_tolerance(dtype));
  }
};

TEST_F(RopeGpuTest, MatchesTheReference) {
  run(DType::kBF16, 3, 32, 128, 64, false, true, 2048);
  run(DType::kBF16, 700, 32, 128, 64, false, true, 0);
  run(DType::kF16, 5, 4, 64, 16, true, false, 8);
  run(DType::kF32, 9, 3, 13, 3, true, true, 5);
  run(DType::kF32, 9, 3, 13, 5, false, false, 0);
  run(DType::kBF16, 260, 7, 80, 10, false, false, 0);
}

}  // namespace
}  // namespace brayton::cuda
