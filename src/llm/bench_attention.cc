// Attention over the paged cache, and what writes the cache: 32 query heads and 8 of keys, of 128.
#include <algorithm>
#include <random>

#include "core/format.h"
#include "llm/kernel_timer.h"

namespace brayton {
namespace {

constexpr int64_t kHeads = 32, kKvHeads = 8, kHeadDim = 128, kBlock = 64;

std::vector<int32_t> first_integers(int64_t count, int64_t step = 1) {
  std::vector<int32_t> values;
  for (int64_t i = 0; i < count; ++i) values.push_back(static_cast<int32_t>(i * step));
  return values;
}

// One layer's attention: `queries` new tokens on `length` keys, `sequences` times.
void attention(KernelTimer& timer, const std::string& kernel, int64_t sequences, int64_t queries,
               int64_t length) {
  const std::string shape = format("{} x {} of {}", sequences, queries, length);
  if (!timer.wanted(kernel, shape)) return;
  const int64_t blocks = (length + kBlock - 1) / kBlock, tokens = sequences * queries;
  const Shape cache{sequences * blocks, 2, kKvHeads, kBlock, kHeadDim};
  const int64_t read = 2 * 2 * kKvHeads * kHeadDim * sequences * length;
  const int sets = KernelTimer::cold_sets(storage_bytes(DType::kBF16, cache));
  std::vector<TensorView> caches;
  for (int i = 0; i < sets; ++i) caches.push_back(timer.tensor(DType::kBF16, cache));
  AttentionArgs args;
  args.q = timer.tensor(DType::kBF16, {tokens, kHeads, kHeadDim});
  args.y = timer.tensor(DType::kBF16, {tokens, kHeads, kHeadDim});
  std::vector<int32_t> table = first_integers(sequences * blocks);
  std::shuffle(table.begin(), table.end(), std::mt19937(1));
  args.query_offsets = timer.integers({sequences + 1}, first_integers(sequences + 1, queries));
  args.kv_lengths =
      timer.integers({sequences}, std::vector<int32_t>(sequences, static_cast<int32_t>(length)));
  args.block_table = timer.integers({sequences, blocks}, table);
  args.scale = 0.088f;
  args.decodes = queries == 1 ? sequences : 0;
  const double pairs = static_cast<double>(sequences) *
                       (static_cast<double>(queries) * static_cast<double>(length) -
                        static_cast<double>(queries) * static_cast<double>(queries - 1) / 2);
  timer.measure({.kernel = kernel,
                 .shape = shape,
                 .bytes = static_cast<double>(read + 2 * args.q.bytes()),
                 .flops = 4.0 * kHeads * kHeadDim * pairs},
                [&, args](int i) mutable {
                  args.cache = caches[static_cast<size_t>(i % sets)];
                  timer.kernels().attention(timer.stream(), args);
                });
}

// `count` new tokens of one sequence.
void append(KernelTimer& timer, int64_t count) {
  const std::string shape = format("{} x {} + {}", count, kHeads, kKvHeads);
  if (!timer.kernels().append_kv || !timer.wanted("append_kv", shape)) return;
  const TensorView qkv = timer.tensor(DType::kBF16, {count, (kHeads + 2 * kKvHeads) * kHeadDim});
  const auto heads = [&](int64_t first, int64_t number) {
    TensorView view = qkv.slice(1, first * kHeadDim, (first + number) * kHeadDim);
    view.shape = Shape{count, number, kHeadDim};
    view.strides[1] = kHeadDim;
    view.strides[2] = 1;
    return view;
  };
  const int64_t blocks = (count + kBlock - 1) / kBlock;
  AppendKvArgs args;
  args.q = heads(0, kHeads);
  args.k = heads(kHeads, kKvHeads);
  args.v = heads(kHeads + kKvHeads, kKvHeads);
  args.cache = timer.tensor(DType::kBF16, {blocks, 2, kKvHeads, kBlock, kHeadDim});
  args.positions = timer.integers({count}, first_integers(count));
  args.query_offsets = timer.integers({2}, first_integers(2, count));
  args.kv_lengths = timer.integers({1}, {static_cast<int32_t>(count)});
  args.block_table = timer.integers({1, blocks}, first_integers(blocks));
  args.inv_freq = timer.numbers(std::vector<float>(kHeadDim / 2, 0.01f));
  timer.measure({.kernel = "append_kv",
                 .shape = shape,
                 .bytes = static_cast<double>(count * (2 * kHeads + 4 * kKvHeads) * kHeadDim * 2)},
                [&, args](int) { timer.kernels().append_kv(timer.stream(), args); });
}

}  // namespace

void bench_attention(KernelTimer& timer) {
  for (int64_t length : {128, 2048, 8192, 32768})
    attention(timer, "attention prefill", 1, length, length);
  attention(timer, "attention prefill", 1, 512, 8192);
  for (int64_t length : {128, 1024, 8192}) attention(timer, "attention decode", 1, 1, length);
  for (int64_t length : {256, 4096}) attention(timer, "attention decode", 64, 1, length);
  attention(timer, "attention decode", 256, 1, 256);
  for (int64_t count : {1, 64, 256, 2048}) append(timer, count);
}

}  // namespace brayton
