#include "llm/bench_kernels.h"

#include <algorithm>
#include <deque>
#include <random>
#include <regex>

#include "core/check.h"
#include "core/half.h"
#include "llm/device.h"

namespace brayton {
namespace {

constexpr int kLaunches = 20;         // captured together
constexpr int kRepeats = 7;           // of which the median counts
constexpr int64_t kCold = 256 << 20;  // bytes after which the caches have forgotten
constexpr int64_t kTile = 64 << 20;   // of random numbers, repeated to fill a tensor
constexpr double kUnknown = 1.0;      // FLOP/s, before the first matrix was measured

class Bench {
 public:
  Bench(const LoadOptions& options, const std::string& filter,
        const std::function<void(const KernelTime&)>& done)
      : backend_(open_device(options)),
        stream_(backend_->make_stream()),
        filter_(filter),
        done_(done) {
    result_.device = backend_->description();
    result_.read_bandwidth = backend_->measure_read_bandwidth();
    result_.matrix_rate = kUnknown;
    std::mt19937_64 random(1);
    tile_.resize(kTile / 2);
    std::normal_distribution<float> normal(0.0f, 1.0f);
    std::vector<float> some(1 << 16);
    for (float& x : some) x = normal(random);
    for (uint16_t& x : tile_) x = f32_to_bf16(some[random() % some.size()]);
  }

  KernelBench run() {
    linears();
    attentions();
    rows();
    for (KernelTime& row : result_.rows) bound(row);
    return std::move(result_);
  }

 private:
  bool wanted(const std::string& kernel, const std::string& shape) const {
    return filter_.empty() || std::regex_search(kernel + " " + shape, std::regex(filter_));
  }

  TensorView tensor(DType dtype, const Shape& shape) {
    const int64_t bytes = storage_bytes(dtype, shape);
    Buffer& buffer = buffers_.emplace_back(backend_->allocate(static_cast<size_t>(bytes)));
    if (dtype == DType::kBF16)
      for (int64_t at = 0; at < bytes; at += kTile)
        backend_->copy_to_device(static_cast<std::byte*>(buffer.data()) + at, tile_.data(),
                                 static_cast<size_t>(std::min(kTile, bytes - at)));
    return {buffer.data(), dtype, shape};
  }
  TensorView numbers(const std::vector<float>& values) {
    const TensorView view = tensor(DType::kF32, {static_cast<int64_t>(values.size())});
    backend_->copy_to_device(view.data, values.data(), values.size() * sizeof(float));
    return view;
  }
  TensorView integers(const Shape& shape, const std::vector<int32_t>& values) {
    const TensorView view = tensor(DType::kI32, shape);
    backend_->copy_to_device(view.data, values.data(), values.size() * sizeof(int32_t));
    return view;
  }

  // The median time of one of kLaunches launches, seconds; launch(i) uses the i-th set of cold
  // inputs.
  double time(const std::function<void(int)>& launch) {
    launch(0);  // compiles and warms up
    stream_->synchronize();
    stream_->begin_capture();
    for (int i = 0; i < kLaunches; ++i) launch(i);
    const std::unique_ptr<Replay> replay = stream_->end_capture();
    const auto start = stream_->make_event();
    const auto end = stream_->make_event();
    std::vector<double> times;
    for (int repeat = 0; repeat <= kRepeats; ++repeat) {
      start->record();
      if (replay)
        replay->launch();
      else
        for (int i = 0; i < kLaunches; ++i) launch(i);
      end->record();
      stream_->synchronize();
      if (repeat > 0) times.push_back(end->seconds_since(*start) / kLaunches);
    }
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
  }

  void measure(const std::string& kernel, const std::string& shape, double bytes, double flops,
               const std::function<void(int)>& launch,
               const std::function<void(int)>& library = {}) {
    KernelTime row{kernel, shape, time(launch) * 1e6, bytes, flops};
    if (library) row.library_us = time(library) * 1e6;
    if (kernel == "linear")
      for (double us : {row.us, row.library_us})
        if (us > 0) result_.matrix_rate = std::max(result_.matrix_rate, flops / (us * 1e-6));
    bound(row);
    if (done_) done_(row);
    result_.rows.push_back(row);
    buffers_.clear();
    weights_.clear();
  }

  void bound(KernelTime& row) const {
    const double arithmetic =
        result_.matrix_rate > kUnknown ? row.flops / result_.matrix_rate : 0.0;
    row.bound_us = 1e6 * std::max(row.bytes / result_.read_bandwidth, arithmetic);
  }

  void linear(int64_t rows, int64_t n, int64_t k, bool gated) {
    const std::string shape = format("{} x {} x {}{}", rows, n, k, gated ? " gated" : "");
    if (!wanted("linear", shape)) return;
    const int64_t bytes = 2 * n * k;
    const auto copies = static_cast<int>(std::clamp<int64_t>(kCold / bytes + 1, 1, kLaunches));
    const Shape weight{n, k};
    const std::string tactic = backend_->linear_tactics({DType::kBF16, n, k, DType::kBF16}).front();
    std::vector<uint16_t> host(static_cast<size_t>(n * k));
    for (size_t at = 0; at < host.size(); at += tile_.size())
      std::copy_n(tile_.begin(), std::min(tile_.size(), host.size() - at), host.begin() + at);
    for (int i = 0; i < copies; ++i)
      weights_.push_back(
          backend_->pack_linear(*stream_, {host.data(), DType::kBF16, weight}, tactic));
    LinearArgs args;
    args.x = tensor(DType::kBF16, {rows, k});
    args.y = tensor(DType::kBF16, {rows, gated ? n / 2 : n});
    if (gated) args.activation = ActivationKind::kSilu;
    args.gated = gated;
    const double moved = static_cast<double>(bytes + 2 * rows * k + args.y.bytes());
    args.w = {static_cast<void*>(nullptr), DType::kBF16, weight};
    const auto launch = [&, args](int i) mutable {
      args.packed = weights_[static_cast<size_t>(i % copies)].get();
      backend_->kernels().linear(*stream_, args);
    };
    // The library has no gated form: it is given twice the results to write.
    LinearArgs plain = args;
    plain.gated = false;
    plain.activation.reset();
    if (gated) plain.y = tensor(DType::kBF16, {rows, n});
    plain.packed = weights_[0].get();
    std::function<void(int)> library;
    if (backend_->launch_library_linear(*stream_, plain))
      library = [&, plain](int i) mutable {
        plain.packed = weights_[static_cast<size_t>(i % copies)].get();
        backend_->launch_library_linear(*stream_, plain);
      };
    measure("linear", shape, moved, 2.0 * static_cast<double>(rows * n * k), launch, library);
  }

  void linears() {
    linear(8192, 8192, 8192, false);
    struct Size {
      int64_t n, k;
      bool gated;
    };
    for (const Size& s : {Size{6144, 4096, false}, Size{4096, 4096, false}, Size{28672, 4096, true},
                          Size{4096, 14336, false}, Size{128256, 4096, false}})
      for (int64_t rows : {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 2048, 4096}) {
        if (s.n == 128256 && rows > 256) continue;
        linear(rows, s.n, s.k, s.gated);
      }
    for (const Size& s : {Size{5120, 8192, false}, Size{8192, 4096, false}, Size{28672, 8192, true},
                          Size{8192, 14336, false}})
      for (int64_t rows : {1, 16, 64}) linear(rows, s.n, s.k, s.gated);
  }

  // One layer's attention: `queries` new tokens on `length` keys, `sequences` times.
  void attention(const std::string& kernel, int64_t sequences, int64_t queries, int64_t length) {
    const std::string shape = format("{} x {} of {}", sequences, queries, length);
    if (!wanted(kernel, shape)) return;
    constexpr int64_t kHeads = 32, kKvHeads = 8, kHeadDim = 128, kBlock = 64;
    const int64_t blocks = (length + kBlock - 1) / kBlock, tokens = sequences * queries;
    const Shape cache{sequences * blocks, 2, kKvHeads, kBlock, kHeadDim};
    const int64_t read = 2 * 2 * kKvHeads * kHeadDim * sequences * length;
    const auto copies = static_cast<int>(
        std::clamp<int64_t>(kCold / storage_bytes(DType::kBF16, cache) + 1, 1, kLaunches));
    std::vector<TensorView> caches;
    for (int i = 0; i < copies; ++i) caches.push_back(tensor(DType::kBF16, cache));
    AttentionArgs args;
    args.q = tensor(DType::kBF16, {tokens, kHeads, kHeadDim});
    args.y = tensor(DType::kBF16, {tokens, kHeads, kHeadDim});
    std::vector<int32_t> offsets, table;
    for (int64_t s = 0; s <= sequences; ++s) offsets.push_back(static_cast<int32_t>(s * queries));
    for (int64_t b = 0; b < sequences * blocks; ++b) table.push_back(static_cast<int32_t>(b));
    std::shuffle(table.begin(), table.end(), std::mt19937(1));
    args.query_offsets = integers({sequences + 1}, offsets);
    args.kv_lengths =
        integers({sequences}, std::vector<int32_t>(sequences, static_cast<int32_t>(length)));
    args.block_table = integers({sequences, blocks}, table);
    args.scale = 0.088f;
    args.decodes = queries == 1 ? sequences : 0;
    const double pairs = static_cast<double>(sequences) *
                         (static_cast<double>(queries) * static_cast<double>(length) -
                          static_cast<double>(queries) * static_cast<double>(queries - 1) / 2);
    measure(kernel, shape, static_cast<double>(read + 2 * args.q.bytes()),
            queries == 1 ? 0.0 : 4.0 * kHeads * kHeadDim * pairs, [&, args](int i) mutable {
              args.cache = caches[static_cast<size_t>(i % copies)];
              backend_->kernels().attention(*stream_, args);
            });
  }

  void attentions() {
    for (int64_t length : {128, 2048, 8192, 32768})
      attention("attention prefill", 1, length, length);
    attention("attention prefill", 1, 512, 8192);
    for (int64_t length : {128, 1024, 8192}) attention("attention decode", 1, 1, length);
    for (int64_t length : {256, 4096}) attention("attention decode", 64, 1, length);
    attention("attention decode", 256, 1, 256);
  }

  void rows() {
    constexpr int64_t kWidth = 4096;
    for (int64_t count : {1, 64, 256, 2048}) {
      const std::string shape = format("{} x {}", count, kWidth);
      if (wanted("add_rms_norm", shape)) {
        RmsNormArgs args;
        args.x = tensor(DType::kBF16, {count, kWidth});
        args.residual = tensor(DType::kBF16, {count, kWidth});
        args.sum = tensor(DType::kBF16, {count, kWidth});
        args.y = tensor(DType::kBF16, {count, kWidth});
        args.w = numbers(std::vector<float>(kWidth, 1.0f));
        measure("add_rms_norm", shape, static_cast<double>(4 * args.x.bytes()), 0,
                [&, args](int) { backend_->kernels().rms_norm(*stream_, args); });
      }
      if (wanted("append_kv", shape) && backend_->kernels().append_kv) append(count);
    }
  }

  void append(int64_t count) {
    const TensorView qkv = tensor(DType::kBF16, {count, 6144});
    const auto heads = [&](int64_t first, int64_t number) {
      TensorView view = qkv.slice(1, first * 128, (first + number) * 128);
      view.shape = Shape{count, number, 128};
      view.strides[1] = 128;
      view.strides[2] = 1;
      return view;
    };
    AppendKvArgs args;
    args.q = heads(0, 32);
    args.k = heads(32, 8);
    args.v = heads(40, 8);
    const int64_t blocks = (count + 63) / 64;
    args.cache = tensor(DType::kBF16, {blocks, 2, 8, 64, 128});
    std::vector<int32_t> positions, table;
    for (int64_t t = 0; t < count; ++t) positions.push_back(static_cast<int32_t>(t));
    for (int64_t b = 0; b < blocks; ++b) table.push_back(static_cast<int32_t>(b));
    args.positions = integers({count}, positions);
    args.query_offsets = integers({2}, {0, static_cast<int32_t>(count)});
    args.kv_lengths = integers({1}, {static_cast<int32_t>(count)});
    args.block_table = integers({1, blocks}, table);
    args.inv_freq = numbers(std::vector<float>(64, 0.01f));
    measure("append_kv", format("{} x 32 + 8", count),
            static_cast<double>(count) * (2 * 32 + 4 * 8) * 128 * 2, 0,
            [&, args](int) { backend_->kernels().append_kv(*stream_, args); });
  }

  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Stream> stream_;
  std::string filter_;
  const std::function<void(const KernelTime&)>& done_;
  KernelBench result_;
  std::vector<uint16_t> tile_;
  std::deque<Buffer> buffers_;
  std::deque<std::unique_ptr<PackedWeight>> weights_;
};

}  // namespace

KernelBench bench_kernels(const LoadOptions& options, const std::string& filter,
                          const std::function<void(const KernelTime&)>& done) {
  return Bench(options, filter, done).run();
}

}  // namespace brayton
