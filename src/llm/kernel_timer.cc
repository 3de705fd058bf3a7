#include "llm/kernel_timer.h"

#include <algorithm>
#include <random>
#include <regex>

#include "core/half.h"

namespace brayton {
namespace {

constexpr int kLaunches = 20;         // captured together
constexpr int kRepeats = 7;           // of which the median counts
constexpr int64_t kCold = 256 << 20;  // bytes after which the caches have forgotten
constexpr int64_t kTile = 64 << 20;   // bytes of random numbers, repeated to fill a tensor
constexpr double kUnknown = 1.0;      // FLOP/s, before the first matrix was measured

}  // namespace

KernelTimer::KernelTimer(Backend& backend, std::string filter,
                         const std::function<void(const KernelTime&)>& done)
    : backend_(backend), stream_(backend.make_stream()), filter_(std::move(filter)), done_(done) {
  result_.device = backend_.description();
  result_.read_bandwidth = backend_.measure_read_bandwidth();
  result_.matrix_rate = kUnknown;
}

bool KernelTimer::wanted(const std::string& kernel, const std::string& shape) const {
  return filter_.empty() || std::regex_search(kernel + " " + shape, std::regex(filter_));
}

std::vector<uint16_t>& KernelTimer::tile(float deviation) {
  for (auto& [known, numbers] : tiles_)
    if (known == deviation) return numbers;
  std::mt19937_64 random(1);
  std::normal_distribution<float> normal(0.0f, deviation);
  std::vector<float> some(1 << 16);
  for (float& x : some) x = normal(random);
  auto& numbers = tiles_.emplace_back(deviation, kTile / 2).second;
  for (uint16_t& x : numbers) x = f32_to_bf16(some[random() % some.size()]);
  return numbers;
}

TensorView KernelTimer::tensor(DType dtype, const Shape& shape, float deviation) {
  const int64_t bytes = storage_bytes(dtype, shape);
  Buffer& buffer = buffers_.emplace_back(backend_.allocate(static_cast<size_t>(bytes)));
  if (dtype == DType::kBF16)
    for (int64_t at = 0; at < bytes; at += kTile)
      backend_.copy_to_device(static_cast<std::byte*>(buffer.data()) + at, tile(deviation).data(),
                              static_cast<size_t>(std::min(kTile, bytes - at)));
  return {buffer.data(), dtype, shape};
}

TensorView KernelTimer::numbers(const std::vector<float>& values) {
  const TensorView view = tensor(DType::kF32, {static_cast<int64_t>(values.size())});
  backend_.copy_to_device(view.data, values.data(), values.size() * sizeof(float));
  return view;
}

TensorView KernelTimer::integers(const Shape& shape, const std::vector<int32_t>& values) {
  const TensorView view = tensor(DType::kI32, shape);
  backend_.copy_to_device(view.data, values.data(), values.size() * sizeof(int32_t));
  return view;
}

int KernelTimer::cold_sets(int64_t bytes) {
  return static_cast<int>(std::clamp<int64_t>(kCold / bytes + 1, 1, kLaunches));
}

std::vector<const PackedWeight*> KernelTimer::weights(int64_t n, int64_t k, int sets) {
  const std::string tactic = backend_.linear_tactics({DType::kBF16, n, k, DType::kBF16}).front();
  const std::vector<uint16_t>& some = tile(1.0f);
  std::vector<uint16_t> host(static_cast<size_t>(n * k));
  for (size_t at = 0; at < host.size(); at += some.size())
    std::copy_n(some.begin(), std::min(some.size(), host.size() - at),
                host.begin() + static_cast<std::ptrdiff_t>(at));
  std::vector<const PackedWeight*> packed;
  for (int i = 0; i < sets; ++i)
    packed.push_back(weights_
                         .emplace_back(backend_.pack_linear(
                             *stream_, {host.data(), DType::kBF16, {n, k}}, tactic))
                         .get());
  return packed;
}

// The median time of one of kLaunches launches.
double KernelTimer::seconds(const Launch& launch) {
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

void KernelTimer::measure(KernelTime row, const Launch& launch, const Launch& library) {
  row.us = seconds(launch) * 1e6;
  if (library) row.library_us = seconds(library) * 1e6;
  if (row.kernel == "linear")
    for (double us : {row.us, row.library_us})
      if (us > 0) result_.matrix_rate = std::max(result_.matrix_rate, row.flops / (us * 1e-6));
  bound(row);
  if (done_) done_(row);
  result_.rows.push_back(row);
  buffers_.clear();
  weights_.clear();
}

void KernelTimer::bound(KernelTime& row) const {
  const double arithmetic = result_.matrix_rate > kUnknown ? row.flops / result_.matrix_rate : 0.0;
  row.bound_us = 1e6 * std::max(row.bytes / result_.read_bandwidth, arithmetic);
}

KernelBench KernelTimer::finish() {
  for (KernelTime& row : result_.rows) bound(row);
  return std::move(result_);
}

}  // namespace brayton
