#include "llm/bench_kernels.h"

#include "core/format.h"
#include "llm/device.h"
#include "llm/kernel_timer.h"

namespace brayton {
namespace {

void linear(KernelTimer& timer, int64_t rows, int64_t n, int64_t k, bool gated) {
  const std::string shape = format("{} x {} x {}{}", rows, n, k, gated ? " gated" : "");
  if (!timer.wanted("linear", shape)) return;
  const int64_t bytes = 2 * n * k;
  const int sets = KernelTimer::cold_sets(bytes);
  const auto weights = timer.weights(n, k, sets);
  LinearArgs args;
  args.x = timer.tensor(DType::kBF16, {rows, k});
  args.y = timer.tensor(DType::kBF16, {rows, gated ? n / 2 : n});
  if (gated) args.activation = ActivationKind::kSilu;
  args.gated = gated;
  args.w = {static_cast<void*>(nullptr), DType::kBF16, {n, k}};
  const KernelTimer::Launch launch = [&, args](int i) mutable {
    args.packed = weights[static_cast<size_t>(i % sets)];
    timer.kernels().linear(timer.stream(), args);
  };
  // The library has no gated form: it is given twice the results to write.
  LinearArgs plain = args;
  plain.gated = false;
  plain.activation.reset();
  if (gated) plain.y = timer.tensor(DType::kBF16, {rows, n});
  plain.packed = weights[0];
  KernelTimer::Launch library;
  if (timer.backend().launch_library_linear(timer.stream(), plain))
    library = [&, plain](int i) mutable {
      plain.packed = weights[static_cast<size_t>(i % sets)];
      timer.backend().launch_library_linear(timer.stream(), plain);
    };
  if (timer.backend().begin_planning()) {  // the kernel is chosen as for a program
    launch(0);
    timer.backend().end_planning({});
  }
  timer.measure({.kernel = "linear",
                 .shape = shape,
                 .bytes = static_cast<double>(bytes + args.x.bytes() + args.y.bytes()),
                 .flops = 2.0 * static_cast<double>(rows * n * k)},
                launch, library);
}

}  // namespace

void bench_linears(KernelTimer& timer) {
  linear(timer, 8192, 8192, 8192, false);
  struct Size {
    int64_t n, k;
    bool gated;
  };
  for (const Size& s : {Size{6144, 4096, false}, Size{4096, 4096, false}, Size{28672, 4096, true},
                        Size{4096, 14336, false}, Size{128256, 4096, false}})
    for (int64_t rows : {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 2048, 4096}) {
      if (s.n == 128256 && rows > 256) continue;
      linear(timer, rows, s.n, s.k, s.gated);
    }
  for (const Size& s : {Size{5120, 8192, false}, Size{8192, 4096, false}, Size{28672, 8192, true},
                        Size{8192, 14336, false}})
    for (int64_t rows : {1, 16, 64}) linear(timer, rows, s.n, s.k, s.gated);
}

KernelBench bench_kernels(const LoadOptions& options, const std::string& filter,
                          const std::function<void(const KernelTime&)>& done) {
  const std::unique_ptr<Backend> backend = open_device(options);
  KernelTimer timer(*backend, filter, done);
  bench_linears(timer);
  bench_attention(timer);
  bench_row_ops(timer);
  bench_sampling(timer);
  return timer.finish();
}

}  // namespace brayton
