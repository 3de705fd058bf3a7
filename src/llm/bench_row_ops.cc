// What works on rows of activations: norms, gated activations, the embedding. Their inputs fit into
// the cache, as in a model they mostly do, so that shares above 1 are no fault.
#include <random>

#include "core/format.h"
#include "llm/kernel_timer.h"

namespace brayton {
namespace {

constexpr int64_t kWidth = 4096, kInner = 14336, kVocab = 128256;

void add_rms_norm(KernelTimer& timer, int64_t count) {
  const std::string shape = format("{} x {}", count, kWidth);
  if (!timer.wanted("add_rms_norm", shape)) return;
  RmsNormArgs args;
  args.x = timer.tensor(DType::kBF16, {count, kWidth});
  args.residual = timer.tensor(DType::kBF16, {count, kWidth});
  args.sum = timer.tensor(DType::kBF16, {count, kWidth});
  args.y = timer.tensor(DType::kBF16, {count, kWidth});
  args.w = timer.numbers(std::vector<float>(kWidth, 1.0f));
  timer.measure(
      {.kernel = "add_rms_norm", .shape = shape, .bytes = static_cast<double>(4 * args.x.bytes())},
      [&, args](int) { timer.kernels().rms_norm(timer.stream(), args); });
}

void gated_activation(KernelTimer& timer, int64_t count) {
  const std::string shape = format("{} x {}", count, kInner);
  if (!timer.wanted("gated_activation", shape)) return;
  GatedActivationArgs args;
  args.x = timer.tensor(DType::kBF16, {count, 2 * kInner});
  args.y = timer.tensor(DType::kBF16, {count, kInner});
  timer.measure({.kernel = "gated_activation",
                 .shape = shape,
                 .bytes = static_cast<double>(args.x.bytes() + args.y.bytes())},
                [&, args](int) { timer.kernels().gated_activation(timer.stream(), args); });
}

void embedding(KernelTimer& timer, int64_t count) {
  const std::string shape = format("{} of {} x {}", count, kVocab, kWidth);
  if (!timer.wanted("embedding", shape)) return;
  std::mt19937 random(1);
  std::vector<int32_t> ids;
  for (int64_t t = 0; t < count; ++t) ids.push_back(static_cast<int32_t>(random() % kVocab));
  EmbeddingArgs args;
  args.ids = timer.integers({count}, ids);
  args.table = timer.tensor(DType::kBF16, {kVocab, kWidth});
  args.y = timer.tensor(DType::kBF16, {count, kWidth});
  timer.measure({.kernel = "embedding",
                 .shape = shape,
                 .bytes = static_cast<double>(args.ids.bytes() + 2 * args.y.bytes())},
                [&, args](int) { timer.kernels().embedding(timer.stream(), args); });
}

}  // namespace

void bench_row_ops(KernelTimer& timer) {
  for (int64_t count : {1, 64, 256, 2048}) {
    add_rms_norm(timer, count);
    gated_activation(timer, count);
    embedding(timer, count);
  }
}

}  // namespace brayton
