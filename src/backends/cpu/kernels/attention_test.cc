// Every level's attention computes what the op means on any ragged batch, and a token's result is
// bit-equal however its prompt is cut into steps, whatever else is in the step, and on any number
// of threads.
#include <limits>
#include <memory>

#include "backends/cpu/cpu_level.h"
#include "backends/cpu/cpu_stream.h"
#include "backends/cpu/level_kernels.h"
#include "testing/op_test.h"

namespace brayton::cpu {
namespace {

using testing::expect_close;
using testing::expect_same_bits;
using testing::normal_tensor;
using testing::Tensor;

struct Form {
  int64_t heads = 9;
  int64_t kv_heads = 3;
  int64_t head_dim = 64;
  int64_t block_size = 16;
  DType cache = DType::kF32;
  int64_t window = 0;
  bool slopes = false;
  float softcap = 0.0f;

  std::string str() const {
    return format("heads {}/{}, head_dim {}, block_size {}, {} cache, window {}, slopes {}, cap {}",
                  heads, kv_heads, head_dim, block_size, dtype_name(cache), window, slopes,
                  softcap);
  }
};

struct Part {  // of a step: `tokens` new ones on top of `cached`
  int64_t cached;
  int64_t tokens;
};

// A step's inputs with room for the keys of every sequence, in shuffled blocks.
struct Step {
  Form form;
  std::vector<Part> parts;
  int64_t tokens = 0;
  Tensor qkv, cache, offsets, lengths, table, slopes;

  Step(const Form& form, const std::vector<Part>& parts, std::mt19937& random)
      : form(form), parts(parts) {
    std::vector<int32_t> offset_list{0}, length_list;
    int64_t columns = 0;
    for (const auto& [cached, count] : parts) {
      tokens += count;
      offset_list.push_back(static_cast<int32_t>(tokens));
      length_list.push_back(static_cast<int32_t>(cached + count));
      columns = std::max(columns, (cached + count + form.block_size - 1) / form.block_size);
    }
    const auto sequences = static_cast<int64_t>(parts.size());
    std::vector<int32_t> blocks(static_cast<size_t>(sequences * columns));
    for (size_t i = 0; i < blocks.size(); ++i) blocks[i] = static_cast<int32_t>(i);
    std::shuffle(blocks.begin(), blocks.end(), random);
    // The last block belongs to nobody and stays poisoned.
    cache = Tensor(form.cache,
                   {sequences * columns + 1, 2, form.kv_heads, form.block_size, form.head_dim});
    table = Tensor::of_i32({sequences, columns}, blocks);
    offsets = Tensor::of_i32(offset_list);
    lengths = Tensor::of_i32(length_list);
    qkv = normal_tensor(DType::kF32, {tokens, (form.heads + 2 * form.kv_heads) * form.head_dim},
                        random, 1.0f, 3);
    slopes = normal_tensor(DType::kF32, {form.heads}, random, 0.1f);
    for (int64_t s = 0; s < sequences; ++s)
      for (int64_t j = 0; j < parts[s].cached; ++j) fill_key(s, j, random);
  }

  void fill_key(int64_t s, int64_t j, std::mt19937& random) {
    const int64_t block = table.view().row_as<int32_t>(s)[j / form.block_size];
    for (int64_t half = 0; half < 2; ++half)
      for (int64_t h = 0; h < form.kv_heads; ++h) {
        const int64_t row =
            (((block * 2 + half) * form.kv_heads + h) * form.block_size) + j % form.block_size;
        const TensorView rows =
            cache.view().reshape({cache.view().elements() / form.head_dim, form.head_dim});
        testing::fill_normal(rows.slice(0, row, row + 1), random);
      }
  }

  // Columns of the fused projection, as a strided view.
  TensorView heads_of(int64_t first, int64_t count) const {
    TensorView view = qkv.view().slice(1, first * form.head_dim, (first + count) * form.head_dim);
    view.shape = {tokens, count, form.head_dim};
    view.strides = {qkv.view().strides[0], form.head_dim, 1};
    return view;
  }
  AttentionArgs args(const TensorView& y) const {
    return {.q = heads_of(0, form.heads),
            .k = heads_of(form.heads, form.kv_heads),
            .v = heads_of(form.heads + form.kv_heads, form.kv_heads),
            .cache = cache,
            .query_offsets = offsets,
            .kv_lengths = lengths,
            .block_table = table,
            .slopes = form.slopes ? slopes.view() : TensorView(),
            .y = y,
            .scale = 1.0f / std::sqrt(static_cast<float>(form.head_dim)),
            .window = form.window,
            .softcap = form.softcap};
  }
  Tensor result() const { return Tensor(DType::kF32, {tokens, form.heads, form.head_dim}, 5); }
};

class CpuAttention : public ::testing::Test {
 protected:
  template <class Body>
  void for_levels(const Body& body) {
    for (const Level level : available_levels()) {
      SCOPED_TRACE(level_name(level));
      std::mt19937 random(seed_);
      body(level_kernels(level).table.attention, random);
    }
  }

  const uint32_t seed_ = testing::fresh_seed();
  const ::testing::ScopedTrace trace_{__FILE__, __LINE__, testing::seed_text(seed_)};
  ThreadPool pool_{3};
  CpuStream stream_{pool_};
};

// Decode rows at short and long contexts, chunks, whole prompts, and a sequence with nothing new.
const std::vector<Part> kRagged = {{0, 1}, {300, 1}, {40, 7}, {0, 70}, {5, 0}, {63, 2}, {64, 1}};

TEST_F(CpuAttention, RaggedBatchesEqualTheReference) {
  std::vector<Form> forms;
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    forms.push_back({.cache = dtype});
    forms.push_back({.heads = 4, .kv_heads = 4, .head_dim = 80, .block_size = 7, .cache = dtype});
    forms.push_back({.heads = 5, .kv_heads = 1, .head_dim = 19, .cache = dtype, .window = 50});
    forms.push_back({.heads = 2, .kv_heads = 1, .head_dim = 96, .cache = dtype, .slopes = true});
  }
  forms.push_back({.heads = 8, .kv_heads = 1, .head_dim = 32, .block_size = 1});
  forms.push_back({.heads = 2, .kv_heads = 2, .head_dim = 128, .window = 3, .softcap = 5.0f});
  forms.push_back({.heads = 1, .kv_heads = 1, .head_dim = 256, .block_size = 128});
  forms.push_back({.heads = 1, .kv_heads = 1, .head_dim = 1, .slopes = true, .softcap = 2.0f});
  for_levels([&](Kernel<AttentionArgs> attention, std::mt19937& random) {
    for (const Form& form : forms) {
      SCOPED_TRACE(form.str());
      const Step step(form, kRagged, random);
      Tensor cache(form.cache, step.cache.view().shape);
      cache.copy_from(step.cache);
      const Tensor y = step.result(), expected = step.result();
      AttentionArgs args = step.args(y);
      attention(stream_, args);
      args.y = expected;
      args.cache = cache;
      reference(args);
      expect_close(y, expected, {4e-6, 4e-6});
      expect_same_bits(step.cache, cache);
    }
  });
}

TEST_F(CpuAttention, ResultsDoNotDependOnChunks) {
  const Form forms[] = {{},
                        {.heads = 4, .kv_heads = 4, .head_dim = 32, .cache = DType::kF16},
                        {.heads = 2, .kv_heads = 1, .head_dim = 40, .block_size = 5, .window = 33},
                        {.heads = 6,
                         .kv_heads = 1,
                         .head_dim = 64,
                         .cache = DType::kBF16,
                         .slopes = true,
                         .softcap = 8.0f}};
  for_levels([&](Kernel<AttentionArgs> attention, std::mt19937& random) {
    for (const Form& form : forms) {
      SCOPED_TRACE(form.str());
      const int64_t length = &form == &forms[0] ? 530 : 70;  // 530: more than two parts
      const Step whole(form, {{0, length}}, random);
      const Tensor expected = whole.result();
      attention(stream_, whole.args(expected));
      for (const int64_t chunk : {16, 1}) {
        const Tensor y = whole.result();
        Tensor cache(form.cache, whole.cache.view().shape);
        for (int64_t begin = 0; begin < length; begin += chunk) {
          const int64_t end = std::min(length, begin + chunk);
          const Tensor offsets = Tensor::of_i32({0, static_cast<int32_t>(end - begin)});
          const Tensor lengths = Tensor::of_i32({static_cast<int32_t>(end)});
          AttentionArgs args = whole.args(y);
          for (TensorView* view : {&args.q, &args.k, &args.v, &args.y})
            *view = view->slice(0, begin, end);
          args.cache = cache;
          args.query_offsets = offsets;
          args.kv_lengths = lengths;
          attention(stream_, args);
        }
        SCOPED_TRACE(format("chunks of {}", chunk));
        expect_same_bits(y, expected);
      }
    }
  });
}

TEST_F(CpuAttention, ResultsDependNeitherOnOtherSequencesNorOnThreads) {
  ThreadPool one(1);
  CpuStream alone(one);
  for_levels([&](Kernel<AttentionArgs> attention, std::mt19937& random) {
    for (const DType dtype : {DType::kF32, DType::kF16}) {
      const std::vector<Part> parts = {{700, 1}, {20, 3}, {0, 65}, {600, 2}};
      const Step step({.cache = dtype}, parts, random);
      const Tensor together = step.result(), apart = step.result();
      attention(stream_, step.args(together));
      for (int64_t s = 0; s < 4; ++s) {
        const auto* offsets = step.offsets.view().as<int32_t>();
        const Tensor own = Tensor::of_i32({0, offsets[s + 1] - offsets[s]});
        AttentionArgs args = step.args(apart);
        for (TensorView* view : {&args.q, &args.k, &args.v, &args.y})
          *view = view->slice(0, offsets[s], offsets[s + 1]);
        args.query_offsets = own;
        args.kv_lengths = args.kv_lengths.slice(0, s, s + 1);
        args.block_table = args.block_table.slice(0, s, s + 1);
        // Two streams: without parts on one thread, with parts on three.
        attention(s % 2 == 0 ? alone : stream_, args);
      }
      expect_same_bits(apart, together);
    }
  });
}

TEST_F(CpuAttention, ALaterTokenNeverReachesAnEarlierOne) {
  for_levels([&](Kernel<AttentionArgs> attention, std::mt19937& random) {
    const Step step({.cache = DType::kF16}, {{3, 20}}, random);
    const Tensor clean = step.result(), y = step.result();
    attention(stream_, step.args(clean));
    const TensorView v = step.heads_of(12, 3), k = step.heads_of(9, 3);
    for (int64_t i = 0; i < 3 * 64; ++i) {
      v.row_as<float>(10)[i] = std::numeric_limits<float>::quiet_NaN();
      k.row_as<float>(10)[i] = std::numeric_limits<float>::infinity();
    }
    attention(stream_, step.args(y));
    expect_same_bits(y.view().slice(0, 0, 10), clean.view().slice(0, 0, 10));
  });
}

TEST_F(CpuAttention, LargeScoresDoNotOverflow) {
  for_levels([&](Kernel<AttentionArgs> attention, std::mt19937& random) {
    const Step step({}, {{100, 1}, {0, 90}}, random);
    Tensor cache(DType::kF32, step.cache.view().shape);
    cache.copy_from(step.cache);
    const Tensor y = step.result(), expected = step.result();
    AttentionArgs args = step.args(y);
    args.scale = 30.0f;  // scores of some thousands
    attention(stream_, args);
    args.y = expected;
    args.cache = cache;
    reference(args);
    expect_close(y, expected, {3e-3, 1e-3});
  });
}

TEST_F(CpuAttention, RefusesWhatDoesNotFit) {
  for_levels([&](Kernel<AttentionArgs> attention, std::mt19937& random) {
    const Step step({}, {{0, 3}}, random);
    const Tensor y = step.result();
    AttentionArgs args = step.args(y);
    const Tensor table = Tensor::of_i32({1, 1}, {77});
    args.block_table = table;
    EXPECT_EQ(testing::error_of([&] { attention(stream_, args); }),
              "[attention] block_table[0, 0] must be in [0, 2), got 77");
  });
}

}  // namespace
}  // namespace brayton::cpu
