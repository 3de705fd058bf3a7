#include "backends/cuda/kernels/gemm/linear_timer.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "backends/cuda/memory.h"
#include "backends/cuda/packed_linear.h"
#include "core/half.h"
#include "core/log.h"

namespace brayton::cuda {
namespace {

constexpr double kHopeless = 1.5;         // times the fastest, at first sight
constexpr int kRounds = 3;                // whose median counts
constexpr double kChainSeconds = 1.2e-3;  // of a captured chain, about
constexpr int kFewestLaunches = 2, kMostLaunches = 12;
constexpr int kMostCopies = 64;  // of a small weight: some launches more
constexpr size_t kTileBytes = size_t{4} << 20;

int64_t aligned(int64_t bytes) { return (bytes + 1023) / 1024 * 1024; }

int64_t weight_bytes(const LinearKey& key) { return aligned(key.n * key.k * 2); }

// Weights that are read in turn, so many that the L2 cache has forgotten the first by then.
int copies_of(const LinearKey& key, const DeviceInfo& device) {
  return static_cast<int>(
      std::min<int64_t>(3 * device.l2_bytes / weight_bytes(key) + 1, kMostCopies));
}

// Elements between rows, and whether the bytes are a multiple of 16 as the key says.
int64_t row_stride(int64_t columns, bool is_aligned) {
  return !is_aligned && columns % 8 == 0 ? columns + 1 : columns;
}

int64_t x_bytes(const LinearTuner::Layer& layer) {
  return aligned(layer.rows * row_stride(layer.key.k, layer.key.x_aligned) * 2);
}
int64_t y_bytes(const LinearTuner::Layer& layer) {
  return aligned(layer.rows * row_stride(layer.key.outputs(), layer.key.y_aligned) * 2);
}

int64_t bytes_needed(const LinearTuner::Layer& layer, const DeviceInfo& device) {
  return copies_of(layer.key, device) * weight_bytes(layer.key) + x_bytes(layer) + y_bytes(layer) +
         aligned(layer.key.n * 4);
}

TensorView rows_view(std::byte* data, DType dtype, int64_t rows, int64_t columns, int64_t stride) {
  TensorView view(data, dtype, {rows, columns});
  view.strides[0] = stride;
  return view;
}

}  // namespace

std::vector<double> race(size_t count, int rounds, const std::function<double(size_t)>& run) {
  std::vector<double> result(count, HUGE_VAL);
  double best = HUGE_VAL;
  for (size_t i = 0; i < count; ++i) best = std::min(best, result[i] = run(i));
  std::vector<std::vector<double>> times(count);
  for (int round = 0; round < rounds; ++round)
    for (size_t i = 0; i < count; ++i)
      if (result[i] <= kHopeless * best && std::isfinite(result[i])) times[i].push_back(run(i));
  for (size_t i = 0; i < count; ++i) {
    std::ranges::sort(times[i]);
    result[i] = times[i].empty() ? HUGE_VAL : times[i][times[i].size() / 2];
  }
  return result;
}

struct LinearTimer::Inputs {
  LinearArgs args;
  std::vector<std::unique_ptr<PackedLinear>> weights;
};

LinearTimer::LinearTimer(const Driver& driver, CudaStream& stream, CublasLt* library,
                         std::span<const LinearTuner::Layer> layers, int64_t most_bytes)
    : driver_(driver), stream_(stream), library_(library) {
  int64_t bytes = 0;
  for (const LinearTuner::Layer& layer : layers) {
    const int64_t needed = bytes_needed(layer, stream.device());
    if (needed <= most_bytes) bytes = std::max(bytes, needed);
  }
  memory_ = allocate_device(&driver, static_cast<size_t>(bytes));
  start_ = stream.make_event();
  end_ = stream.make_event();
  fill();
}

// Numbers of size 1, as bf16 and as f16: kernels are faster with zeros, which cost no power.
void LinearTimer::fill() {
  const Buffer tile = allocate_pinned(&driver_, kTileBytes);
  auto* values = static_cast<uint16_t*>(tile.data());
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<uint16_t> some(1 << 13);
  for (uint16_t& value : some) value = f32_to_bf16(normal(random));
  for (size_t i = 0; i < kTileBytes / 2; ++i) values[i] = some[random() % some.size()];
  auto* const data = static_cast<std::byte*>(memory_.data());
  size_t filled = std::min(kTileBytes, memory_.size());
  stream_.copy_to_device(data, values, filled);
  while (filled < memory_.size()) {
    const size_t count = std::min(filled, memory_.size() - filled);
    driver_.check(
        driver_.cuMemcpyAsync(reinterpret_cast<CUdeviceptr>(data + filled),
                              reinterpret_cast<CUdeviceptr>(data), count, stream_.handle()),
        "cuMemcpyAsync");
    filled += count;
  }
  stream_.synchronize();
}

LinearTimer::Inputs LinearTimer::inputs_of(const LinearTuner::Layer& layer) const {
  const LinearKey& key = layer.key;
  Inputs inputs;
  auto* at = static_cast<std::byte*>(memory_.data());
  for (int i = 0; i < copies_of(key, stream_.device()); ++i, at += weight_bytes(key))
    inputs.weights.push_back(std::make_unique<PackedLinear>(key.dtype, key.n, key.k, "timed",
                                                            Buffer(at, 1, [](void*) {})));
  inputs.args.x = rows_view(at, key.dtype, layer.rows, key.k, row_stride(key.k, key.x_aligned));
  at += x_bytes(layer);
  inputs.args.y =
      rows_view(at, key.dtype, layer.rows, key.outputs(), row_stride(key.outputs(), key.y_aligned));
  at += y_bytes(layer);
  if (key.bias) inputs.args.bias = TensorView(at, DType::kF32, {key.n});
  inputs.args.activation = key.activation;
  inputs.args.gated = key.gated;
  return inputs;
}

void LinearTimer::launch(Inputs& inputs, const LinearTactic& tactic, int i) {
  inputs.args.packed = inputs.weights[static_cast<size_t>(i) % inputs.weights.size()].get();
  launch_linear(stream_, inputs.args, tactic, library_);
}

double LinearTimer::once(const std::function<void()>& work) {
  start_->record();
  work();
  end_->record();
  stream_.synchronize();
  return end_->seconds_since(*start_);
}

void LinearTimer::launch_once(const LinearTuner::Layer& layer, const LinearTactic& tactic) {
  if (bytes_needed(layer, stream_.device()) > static_cast<int64_t>(memory_.size())) return;
  Inputs inputs = inputs_of(layer);
  launch(inputs, tactic, 0);
  stream_.synchronize();
}

std::vector<double> LinearTimer::measure(const LinearTuner::Layer& layer) {
  if (bytes_needed(layer, stream_.device()) > static_cast<int64_t>(memory_.size())) return {};
  Inputs inputs = inputs_of(layer);
  int launches = kMostLaunches;
  std::vector<std::unique_ptr<Replay>> chains;
  for (size_t c = 0; c < layer.candidates.size(); ++c) {
    const LinearTactic& tactic = layer.candidates[c];
    std::unique_ptr<Replay>& chain = chains.emplace_back();
    try {
      launch(inputs, tactic, 0);  // loads it
      stream_.synchronize();
    } catch (const Error& error) {
      if (c == 0) throw;
      log_debug("[cuda] {} cannot be {}: {}", layer.key.str(), tactic.str(), error.what());
      continue;
    }
    if (c == 0) {
      const double seconds = once([&] { launch(inputs, tactic, 1); });
      const double fitting =
          std::clamp<double>(kChainSeconds / seconds, kFewestLaunches, kMostLaunches);
      launches = std::max(static_cast<int>(fitting), static_cast<int>(inputs.weights.size()));
    }
    stream_.begin_capture();
    for (int i = 0; i < launches; ++i) launch(inputs, tactic, i);
    chain = stream_.end_capture();
  }
  std::vector<double> times = race(chains.size(), kRounds, [&](size_t c) {
    return chains[c] ? once([&] { chains[c]->launch(); }) / launches : HUGE_VAL;
  });
  for (double& time : times) time *= 1e6;
  return times;
}

}  // namespace brayton::cuda
