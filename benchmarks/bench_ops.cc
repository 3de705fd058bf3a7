// The CPU's kernels other than linear at the shapes of SmolLM2-135M (and an 80-wide head for the
// tails), against what bounds them: attention on a prompt by multiply-adds, when decoding by
// reading the cache, which is larger than the processor's; the small ops by nothing worth naming,
// so their share of a decode step is what counts.
//   brayton_bench_ops [--threads N] [--level L]
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>

#include "backends/cpu/cpu_backend.h"
#include "benchmarks/machine_bounds.h"
#include "core/format.h"

namespace brayton {
namespace {

constexpr int64_t kWidth = 576, kInner = 1536, kHeads = 9, kKvHeads = 3, kHeadDim = 64;
constexpr int64_t kBlockSize = 16;

std::vector<float> normal(int64_t count) {
  std::mt19937 random(1);
  std::normal_distribution<float> distribution;
  std::vector<float> result(static_cast<size_t>(count));
  for (float& value : result) value = distribution(random);
  return result;
}

// A step of `sequences` with `tokens` new tokens each, up to `length` keys, for several layers.
class AttentionBench {
 public:
  AttentionBench(Backend& backend, int64_t sequences, int64_t tokens, int64_t length, DType cache)
      : columns_((length + kBlockSize - 1) / kBlockSize),
        layer_shape_{sequences * columns_, 2, kKvHeads, kBlockSize, kHeadDim},
        layer_bytes_(storage_bytes(cache, layer_shape_)),
        layers_(std::max<int64_t>(1, (int64_t{64} << 20) / layer_bytes_)),
        dtype_(cache),
        tokens_(sequences * tokens),
        q_(normal(tokens_ * kHeads * kHeadDim)),
        kv_(normal(tokens_ * kKvHeads * kHeadDim)),
        y_(q_.size()),
        cache_(backend.allocate(static_cast<size_t>(layer_bytes_ * layers_))) {
    std::memset(cache_.data(), 0, cache_.size());  // all memory is there; any numbers do
    for (int64_t s = 0; s <= sequences; ++s) offsets_.push_back(static_cast<int32_t>(s * tokens));
    lengths_.assign(static_cast<size_t>(sequences), static_cast<int32_t>(length));
    for (int64_t i = 0; i < sequences * columns_; ++i) table_.push_back(static_cast<int32_t>(i));
  }

  int64_t layers() const { return layers_; }
  int64_t layer_bytes() const { return layer_bytes_; }
  void run(const Backend& backend, Stream& stream, int64_t layer) {
    const auto sequences = static_cast<int64_t>(lengths_.size());
    AttentionArgs args;
    args.q = TensorView(q_.data(), DType::kF32, {tokens_, kHeads, kHeadDim});
    args.k = args.v = TensorView(kv_.data(), DType::kF32, {tokens_, kKvHeads, kHeadDim});
    args.cache = TensorView(static_cast<std::byte*>(cache_.data()) + layer * layer_bytes_, dtype_,
                            layer_shape_);
    args.query_offsets = TensorView(offsets_.data(), DType::kI32, {sequences + 1});
    args.kv_lengths = TensorView(lengths_.data(), DType::kI32, {sequences});
    args.block_table = TensorView(table_.data(), DType::kI32, {sequences, columns_});
    args.y = TensorView(y_.data(), DType::kF32, {tokens_, kHeads, kHeadDim});
    args.scale = 0.125f;
    backend.kernels().attention(stream, args);
  }

 private:
  int64_t columns_;
  Shape layer_shape_;
  int64_t layer_bytes_, layers_;
  DType dtype_;
  int64_t tokens_;
  std::vector<float> q_, kv_, y_;
  Buffer cache_;
  std::vector<int32_t> offsets_, lengths_, table_;
};

class Bench {
 public:
  Bench(const CpuOptions& options, const Bounds& bounds)
      : backend_(make_cpu_backend(options)), stream_(backend_->make_stream()), bounds_(bounds) {}

  void prefill(int64_t length, DType cache) {
    AttentionBench bench(*backend_, 1, length, length, cache);
    const double seconds = best_of(10, [&] { bench.run(*backend_, *stream_, 0); });
    const double pairs = static_cast<double>(length * (length + 1) / 2 * kHeads * kHeadDim * 2);
    std::printf("attention  prompt of %-5ld %-5s %9.1f us  %6.1f GMAC/s", length,
                std::string(dtype_name(cache)).c_str(), seconds * 1e6, pairs / seconds * 1e-9);
    if (bounds_.float_pairs_per_s > 0)
      std::printf(" %3.0f%% of the multiply-adds",
                  100 * pairs / seconds / bounds_.float_pairs_per_s);
    std::printf("\n");
  }

  void decode(int64_t sequences, int64_t length, DType cache) {
    AttentionBench bench(*backend_, sequences, 1, length, cache);
    std::vector<double> calls;  // each on a layer that the processor's caches have forgotten
    for (int pass = 0; pass < 4; ++pass)
      for (int64_t layer = 0; layer < bench.layers(); ++layer) {
        const Clock::time_point begin = Clock::now();
        bench.run(*backend_, *stream_, layer);
        calls.push_back(seconds_since(begin));
      }
    std::sort(calls.begin(), calls.end());
    const double seconds = calls[calls.size() / 2];
    const double rate = static_cast<double>(bench.layer_bytes()) / seconds;
    std::printf(
        "attention  %2ld x decode at %-5ld %-5s %6.1f us  %6.1f GB/s %3.0f%% of the reads\n",
        sequences, length, std::string(dtype_name(cache)).c_str(), seconds * 1e6, rate * 1e-9,
        100 * rate / bounds_.bytes_per_s);
  }

  void small_ops(int64_t tokens) {
    const std::vector<float> data = normal(tokens * 2 * kInner);
    std::vector<float> x = data, y = data;
    const std::vector<float> w = normal(2 * kInner);
    const std::vector<int32_t> ids(static_cast<size_t>(tokens), 0);
    const auto view = [&](std::vector<float>& v, int64_t width) {
      return TensorView(v.data(), DType::kF32, {tokens, width});
    };
    const TensorView weight(w.data(), DType::kF32, {kWidth});
    const TensorView index(ids.data(), DType::kI32, {tokens});
    const TensorView inv_freq(w.data(), DType::kF32, {kHeadDim / 2});
    const TensorView heads(x.data(), DType::kF32, {tokens, kHeads, kHeadDim});
    const KernelTable& table = backend_->kernels();
    const auto row = [&](const char* name, int64_t elements, const auto& call) {
      const int calls = tokens == 1 ? 1000 : 10;
      const double seconds = best_of(20,
                                     [&] {
                                       for (int i = 0; i < calls; ++i) call();
                                     }) /
                             calls;
      std::printf("%-18s T=%-4ld %9.2f us  %6.2f elements/ns\n", name, tokens, seconds * 1e6,
                  static_cast<double>(tokens * elements) / seconds * 1e-9);
    };
    row("rms_norm", kWidth, [&] {
      table.rms_norm(
          *stream_,
          {.x = view(x, kWidth), .residual = {}, .w = weight, .sum = {}, .y = view(y, kWidth)});
    });
    row("add rms_norm", kWidth, [&] {
      table.rms_norm(*stream_, {.x = view(x, kWidth),
                                .residual = view(x, kWidth),
                                .w = weight,
                                .sum = view(y, kWidth),
                                .y = view(x, kWidth)});
    });
    row("layer_norm", kWidth, [&] {
      table.layer_norm(*stream_, {.x = view(x, kWidth),
                                  .residual = {},
                                  .w = weight,
                                  .b = weight,
                                  .sum = {},
                                  .y = view(y, kWidth)});
    });
    for (const bool interleaved : {false, true})
      row(interleaved ? "rope interleaved" : "rope", kWidth, [&] {
        table.rope(*stream_, {.x = heads,
                              .positions = index,
                              .inv_freq = inv_freq,
                              .y = heads,
                              .interleaved = interleaved});
      });
    x = data;
    for (const ActivationKind kind :
         {ActivationKind::kSilu, ActivationKind::kGelu, ActivationKind::kGeluTanh})
      row(format("gated {}", activation_name(kind)).c_str(), kInner, [&] {
        table.gated_activation(*stream_,
                               {.x = view(x, 2 * kInner), .y = view(y, kInner), .kind = kind});
      });
    row("add", kWidth, [&] {
      table.binary(*stream_, {.a = view(x, kWidth), .b = view(x, kWidth), .y = view(y, kWidth)});
    });
    row("gather_rows", kWidth, [&] {
      table.gather_rows(*stream_, {.x = view(x, kWidth), .rows = index, .y = view(y, kWidth)});
    });
  }

 private:
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Stream> stream_;
  Bounds bounds_;
};

int run_bench(const std::vector<std::string>& arguments) {
  CpuOptions options;
  for (size_t i = 0; i + 1 < arguments.size(); i += 2) {
    if (arguments[i] == "--threads") options.threads = std::stoi(arguments[i + 1]);
    if (arguments[i] == "--level") options.level = arguments[i + 1];
  }
  const std::string description = make_cpu_backend(options)->description();
  const std::string level = description.substr(5, description.find(',') - 5);
  ThreadPool pool(options.threads > 0 ? options.threads : available_cores());
  const Bounds bounds = {read_bandwidth(pool), 0, peak(pool, level, false)};
  std::printf("%s; bounds: read %.1f GB/s, f32 %.0f GMAC/s\n", description.c_str(),
              bounds.bytes_per_s * 1e-9, bounds.float_pairs_per_s * 1e-9);
  Bench bench(options, bounds);
  for (const DType cache : {DType::kF32, DType::kF16, DType::kBF16}) {
    bench.prefill(512, cache);
    bench.decode(1, 64, cache);
    bench.decode(1, 1024, cache);
    bench.decode(16, 256, cache);
  }
  bench.prefill(2048, DType::kF16);
  for (const int64_t tokens : {1, 512}) bench.small_ops(tokens);
  return 0;
}

}  // namespace
}  // namespace brayton

int main(int count, char** arguments) {
  return brayton::run_bench({arguments + 1, arguments + count});
}
