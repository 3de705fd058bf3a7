// Every prefill kernel computes what attention means: for ragged batches, chunks on top of a
// prefix, all score rules, head sizes, groups and block sizes, whatever unwritten slots of the
// cache hold.
#include <cmath>

#include "backends/cuda/kernels/attention/attention.h"
#include "backends/cuda/kernels/attention/attention_shape.h"
#include "backends/cuda/kernels/attention/prefill.h"
#include "backends/cuda/kernels/gpu_test.h"

namespace brayton::cuda {
namespace {

using testing::expect_close;
using testing::normal_tensor;
using testing::Tensor;
using testing::Tolerance;

struct Form {
  int64_t heads = 4;
  int64_t kv_heads = 2;
  int64_t head_dim = 128;
  int64_t block_size = 64;
  DType dtype = DType::kBF16;
  int64_t window = 0;
  bool slopes = false;
  float softcap = 0.0f;
  float deviation = 1.0f;  // of q: large ones move the running maximum
  int64_t gap = 8;         // between rows of q and y, beyond what they need

  std::string str() const {
    return format(
        "heads {}/{}, head_dim {}, block_size {}, {}, window {}, slopes {}, cap {}, q deviation {}",
        heads, kv_heads, head_dim, block_size, dtype_name(dtype), window, slopes, softcap,
        deviation);
  }
};

struct Part {  // `tokens` new ones on top of `cached`
  int64_t cached;
  int64_t tokens;
};

// Whole prompts, chunks, single tokens, a sequence with nothing new, and ends on either side of 64.
const std::vector<Part> kRagged = {{0, 1}, {150, 1}, {40, 7}, {0, 70}, {5, 0}, {63, 2}, {129, 30}};

class Step {
 public:
  Step(const Form& form, const std::vector<Part>& parts, std::mt19937& random)
      : form_(form), parts_(parts) {
    std::vector<int32_t> offsets{0}, lengths;
    int64_t columns = 0;
    for (const auto& [cached, count] : parts) {
      tokens_ += count;
      offsets.push_back(static_cast<int32_t>(tokens_));
      lengths.push_back(static_cast<int32_t>(cached + count));
      columns = std::max(columns, (cached + count + form.block_size - 1) / form.block_size);
    }
    const auto sequences = static_cast<int64_t>(parts.size());
    std::vector<int32_t> blocks(static_cast<size_t>(sequences * columns));
    for (size_t i = 0; i < blocks.size(); ++i) blocks[i] = static_cast<int32_t>(i);
    std::shuffle(blocks.begin(), blocks.end(), random);
    // What nobody writes stays NaN.
    cache = Tensor(form.dtype,
                   {sequences * columns + 1, 2, form.kv_heads, form.block_size, form.head_dim});
    table = Tensor::of_i32({sequences, columns}, blocks);
    this->offsets = Tensor::of_i32(offsets);
    this->lengths = Tensor::of_i32(lengths);
    const Shape kv{tokens_, form.kv_heads, form.head_dim};
    q = normal_tensor(form.dtype, {tokens_, form.heads, form.head_dim}, random, form.deviation,
                      form.gap);
    k = normal_tensor(form.dtype, kv, random);
    v = normal_tensor(form.dtype, kv, random);
    slopes = normal_tensor(DType::kF32, {form.heads}, random, 0.2f);
    const TensorView rows =
        cache.view().reshape({cache.view().elements() / form.head_dim, form.head_dim});
    for (int64_t s = 0; s < sequences; ++s)
      for (int64_t j = 0; j < parts[s].cached; ++j)
        for (int64_t half = 0; half < 2; ++half)
          for (int64_t h = 0; h < form.kv_heads; ++h) {
            const int64_t row = row_of(s, j, half, h);
            testing::fill_normal(rows.slice(0, row, row + 1), random);
          }
    y = Tensor(form.dtype, {tokens_, form.heads, form.head_dim}, form.gap);
  }

  AttentionArgs args() const {
    return {.q = q,
            .k = k,
            .v = v,
            .cache = cache,
            .query_offsets = offsets,
            .kv_lengths = lengths,
            .block_table = table,
            .slopes = form_.slopes ? slopes.view() : TensorView(),
            .y = y,
            .scale = 1.0f / std::sqrt(static_cast<float>(form_.head_dim)),
            .window = form_.window,
            .softcap = form_.softcap};
  }
  int64_t tokens() const { return tokens_; }

  // Puts k and v into the cache, as append_kv does.
  void append() const {
    int64_t t = 0;
    for (size_t s = 0; s < parts_.size(); ++s)
      for (int64_t n = 0; n < parts_[s].tokens; ++n, ++t)
        for (int64_t h = 0; h < form_.kv_heads; ++h)
          for (int64_t i = 0; i < form_.head_dim; ++i)
            for (int64_t half = 0; half < 2; ++half) {
              const auto sequence = static_cast<int64_t>(s);
              const int64_t row = row_of(sequence, parts_[s].cached + n, half, h);
              store_float(form_.dtype, cache.view().data, row * form_.head_dim + i,
                          load_float(half == 0 ? k.view() : v.view(), t, h, i));
            }
  }

  // Head h of new token n of sequence s, in double.
  std::vector<double> expected(int64_t s, int64_t n, int64_t h) const {
    const int64_t position = parts_[s].cached + n, d = form_.head_dim;
    const int64_t t = offsets.view().as<int32_t>()[s] + n;
    const int64_t kv_head = h / (form_.heads / form_.kv_heads);
    const int64_t first = form_.window > 0 ? std::max<int64_t>(0, position - form_.window + 1) : 0;
    const auto element = [&](int64_t j, int64_t half, int64_t i) {
      return double{
          load_float(form_.dtype, cache.view().data, row_of(s, j, half, kv_head) * d + i)};
    };
    std::vector<double> scores, mixed(static_cast<size_t>(d));
    double largest = -HUGE_VAL, total = 0.0;
    for (int64_t j = first; j <= position; ++j) {
      double score = 0.0;
      for (int64_t i = 0; i < d; ++i) score += load_float(q.view(), t, h, i) * element(j, 0, i);
      score /= std::sqrt(static_cast<double>(d));
      if (form_.slopes) score += slopes.view().as<float>()[h] * static_cast<double>(j - position);
      if (form_.softcap > 0) score = form_.softcap * std::tanh(score / form_.softcap);
      scores.push_back(score);
      largest = std::max(largest, score);
    }
    for (double& score : scores) total += score = std::exp(score - largest);
    for (int64_t j = first; j <= position; ++j)
      for (int64_t i = 0; i < d; ++i)
        mixed[static_cast<size_t>(i)] +=
            scores[static_cast<size_t>(j - first)] / total * element(j, 1, i);
    return mixed;
  }

  Tensor q, k, v, y, cache, offsets, lengths, table, slopes;

 private:
  int64_t row_of(int64_t s, int64_t position, int64_t half, int64_t kv_head) const {
    const int64_t block = table.view().row_as<int32_t>(s)[position / form_.block_size];
    return ((block * 2 + half) * form_.kv_heads + kv_head) * form_.block_size +
           position % form_.block_size;
  }

  Form form_;
  std::vector<Part> parts_;
  int64_t tokens_ = 0;
};

Tolerance tolerance(DType dtype) {
  switch (dtype) {
    case DType::kBF16:  // weights and results are rounded to 8 bits
      return {8e-3, 8e-3};
    case DType::kF16:
      return {1e-3, 1e-3};
    default:
      return {2e-5, 2e-5};
  }
}

class PrefillGpu : public GpuTest {
 protected:
  // Runs a step whose keys are in the cache already. False: this GPU has no such kernel.
  bool run(Step& step, bool on_hopper, int64_t first_sequence = 0) {
    step.y.poison();
    const DeviceTensor q = on_device(step.q), y = on_device(step.y), cache = on_device(step.cache);
    const DeviceTensor offsets = on_device(step.offsets), lengths = on_device(step.lengths);
    const DeviceTensor table = on_device(step.table), slopes = on_device(step.slopes);
    AttentionArgs args = step.args();
    args.k = args.v = {};
    args.q = q;
    args.y = y;
    args.cache = cache;
    args.query_offsets = offsets;
    args.kv_lengths = lengths;
    args.block_table = table;
    if (args.slopes) args.slopes = slopes;
    const PrefillRange range{.first_sequence = first_sequence,
                             .sequences = args.kv_lengths.dim(0) - first_sequence,
                             .rows = step.tokens() - first_sequence};
    if (on_hopper && !prefill_hopper_supports(cuda().device(), args)) return false;
    if (on_hopper)
      attention_prefill_hopper(cuda(), args, range);
    else
      attention_prefill(cuda(), args, range);
    stream().synchronize();
    y.download(step.y);
    return true;
  }

  // Both kernels against the reference.
  void check_form(const Form& form, const std::vector<Part>& parts = kRagged) {
    SCOPED_TRACE(form.str());
    Step step(form, parts, random_);
    const Tensor expected(form.dtype, step.y.view().shape, form.gap);
    AttentionArgs args = step.args();
    args.y = expected;
    reference(args);  // appends, too
    for (const bool on_hopper : {false, true}) {
      SCOPED_TRACE(on_hopper ? "prefill_hopper" : "prefill");
      if (!run(step, on_hopper)) continue;
      expect_close(step.y, expected, tolerance(form.dtype));
    }
  }

  // Some rows of a larger step.
  void check_samples(const Form& form, const std::vector<Part>& parts) {
    SCOPED_TRACE(form.str());
    Step step(form, parts, random_);
    step.append();
    for (const bool on_hopper : {false, true}) {
      SCOPED_TRACE(on_hopper ? "prefill_hopper" : "prefill");
      if (!run(step, on_hopper)) continue;
      for (size_t s = 0; s < parts.size(); ++s) {
        std::vector<int64_t> samples{0, parts[s].tokens - 1, parts[s].tokens / 2};
        for (int i = 0; i < 8; ++i)
          samples.push_back(static_cast<int64_t>(random_() % parts[s].tokens));
        for (const int64_t n : samples) {
          const auto sequence = static_cast<int64_t>(s);
          const auto h = static_cast<int64_t>(random_() % form.heads);
          SCOPED_TRACE(format("sequence {}, token {}, head {}", s, n, h));
          const std::vector<double> expected = step.expected(sequence, n, h);
          std::vector<float> actual;
          for (int64_t i = 0; i < form.head_dim; ++i)
            actual.push_back(load_float(step.y, step.offsets.view().as<int32_t>()[s] + n, h, i));
          expect_close(actual, std::vector<float>(expected.begin(), expected.end()),
                       tolerance(form.dtype));
        }
      }
    }
  }
};

TEST_F(PrefillGpu, HeadSizes) {
  for (const int64_t head_dim : {32, 64, 72, 80, 96, 128, 256})
    for (const DType dtype : {DType::kBF16, DType::kF16})
      check_form({.head_dim = head_dim, .dtype = dtype});
}

TEST_F(PrefillGpu, ScoreRules) {
  for (const int64_t head_dim : {64, 96, 128, 256}) {
    check_form({.head_dim = head_dim, .window = 3});
    check_form({.head_dim = head_dim, .window = 100, .deviation = 4.0f});
    check_form({.head_dim = head_dim, .slopes = true});
    check_form({.head_dim = head_dim, .softcap = 5.0f, .deviation = 4.0f});
    check_form({.head_dim = head_dim, .window = 65, .slopes = true, .softcap = 5.0f});
  }
}

TEST_F(PrefillGpu, GroupsOfHeads) {
  const std::pair<int64_t, int64_t> groups[] = {{1, 1}, {2, 2}, {2, 1}, {6, 2}, {8, 2},
                                                {8, 1}, {5, 1}, {7, 1}, {71, 1}};
  for (const auto& [heads, kv_heads] : groups)
    check_form({.heads = heads, .kv_heads = kv_heads, .head_dim = 64},
               {{0, 1}, {90, 5}, {0, 40}, {130, 3}});
}

TEST_F(PrefillGpu, BlockSizes) {
  for (const int64_t block_size : {7, 16, 32, 64, 128, 256})
    for (const int64_t head_dim : {64, 128, 256})
      check_form({.head_dim = head_dim, .block_size = block_size});
}

TEST_F(PrefillGpu, ScoresThatKeepGrowingAreRescaled) {
  for (const int64_t head_dim : {64, 128, 256})
    for (const DType dtype : {DType::kBF16, DType::kF16})
      check_form({.head_dim = head_dim, .dtype = dtype, .deviation = 8.0f}, {{300, 33}, {0, 200}});
}

TEST_F(PrefillGpu, Float32AndOddShapesRunSlowly) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    check_form({.head_dim = 19, .block_size = 7, .dtype = dtype, .gap = 3});
    check_form({.heads = 6, .head_dim = 30, .dtype = dtype, .window = 20, .softcap = 5.0f});
  }
  check_form({.head_dim = 64, .dtype = DType::kF32, .slopes = true});
  check_form({.head_dim = 128, .dtype = DType::kF32});
}

TEST_F(PrefillGpu, LongerPrompts) {
  check_samples({.heads = 8, .kv_heads = 2}, {{0, 700}, {1000, 130}, {513, 64}});
  check_samples({.heads = 6, .kv_heads = 6, .head_dim = 64, .block_size = 16}, {{0, 1025}});
  check_samples({.heads = 2, .kv_heads = 1, .head_dim = 256, .window = 300}, {{0, 700}, {600, 99}});
  check_samples({.heads = 8, .kv_heads = 2, .window = 256, .slopes = true}, {{0, 900}});
}

// More sequences than a warp looks at together, and only the later ones.
TEST_F(PrefillGpu, ManySequences) {
  std::vector<Part> parts;
  for (int64_t i = 0; i < 75; ++i) parts.push_back({i * 7 % 90, i < 3 ? 1 : i * 5 % 11});
  const Form form{.heads = 2, .kv_heads = 1, .head_dim = 64, .block_size = 16};
  Step step(form, parts, random_);
  const Tensor expected(form.dtype, step.y.view().shape, form.gap);
  AttentionArgs args = step.args();
  args.y = expected;
  reference(args);
  for (const bool on_hopper : {false, true}) {
    SCOPED_TRACE(on_hopper ? "prefill_hopper" : "prefill");
    if (!run(step, on_hopper, 3)) continue;
    const int64_t tokens = step.tokens();
    expect_close(step.y.view().slice(0, 3, tokens), expected.view().slice(0, 3, tokens),
                 tolerance(form.dtype));
    for (const float value : testing::values(step.y.view().slice(0, 0, 3)))
      ASSERT_TRUE(std::isnan(value)) << "rows before the range must be left alone";
  }
}

TEST_F(PrefillGpu, ResultsAreBitEqualFromRunToRun) {
  const Form form{.heads = 8, .kv_heads = 2};
  Step step(form, {{0, 500}, {200, 77}}, random_);
  step.append();
  for (const bool on_hopper : {false, true}) {
    if (!run(step, on_hopper)) continue;
    Tensor first(form.dtype, step.y.view().shape, form.gap);
    first.copy_from(step.y);
    for (int i = 0; i < 5; ++i) {
      run(step, on_hopper);
      testing::expect_same_bits(step.y, first);
    }
  }
}

// The table's row: appends k and v, decodes the first sequences, prefills the others.
TEST_F(PrefillGpu, AttentionDividesTheStep) {
  for (const int64_t decodes : {0, 2}) {
    SCOPED_TRACE(format("decodes {}", decodes));
    const Form form{.heads = 8, .kv_heads = 2};
    Step step(form, kRagged, random_);
    const DeviceTensor q = on_device(step.q), k = on_device(step.k), v = on_device(step.v);
    const DeviceTensor y = on_device(step.y), cache = on_device(step.cache);
    const DeviceTensor offsets = on_device(step.offsets), lengths = on_device(step.lengths);
    const DeviceTensor table = on_device(step.table);
    const Tensor expected(form.dtype, step.y.view().shape, form.gap);
    AttentionArgs args = step.args();
    args.y = expected;
    reference(args);
    args.q = q;
    args.k = k;
    args.v = v;
    args.y = y;
    args.cache = cache;
    args.query_offsets = offsets;
    args.kv_lengths = lengths;
    args.block_table = table;
    args.decodes = decodes;
    attention(stream(), args);
    stream().synchronize();
    y.download(step.y);
    expect_close(step.y, expected, tolerance(form.dtype));
  }
}

TEST_F(PrefillGpu, RefusesWhatDoesNotFit) {
  Step step({}, {{0, 3}}, random_);
  AttentionArgs args = step.args();
  args.decodes = 2;
  EXPECT_EQ(testing::error_of([&] { attention(stream(), args); }),
            "[attention] decodes must be in [0, 1] with 3 tokens of 1 sequences, got 2");
}

}  // namespace
}  // namespace brayton::cuda
