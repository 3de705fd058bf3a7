#include "backends/cuda/kernels/gemm/linear_tuner.h"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <utility>

#include "core/check.h"
#include "core/log.h"

namespace brayton::cuda {
namespace {

// Differences below are noise, which should not decide.
constexpr double kLeastGain = 1.02;
// What the library's kernels lose in a step, us: the next kernel cannot start under their end, nor
// they under that of the one before. Side by side with their own kind they do not show it.
constexpr double kLibraryLoss = 4.0;

}  // namespace

size_t choose_by_times(std::span<const double> times) {
  const auto best = static_cast<size_t>(std::ranges::min_element(times) - times.begin());
  return times[0] > kLeastGain * times[best] ? best : 0;
}

struct LinearTuner::State {
  Layer layer;  // rows 0: not planned
  std::optional<LinearTactic> chosen;
  bool unloaded = false;  // see take_unloaded()
};

LinearTuner::LinearTuner(const DeviceInfo& device, TimingCache& cache, OpenLibrary open_library)
    : device_(device), cache_(cache), open_library_(std::move(open_library)) {}

LinearTuner::~LinearTuner() = default;

LinearTuner::State& LinearTuner::state_of(const LinearKey& key) {
  std::unique_ptr<State>& state = states_[key];
  if (state) return *state;
  state = std::make_unique<State>();
  order_.push_back(state.get());
  state->layer.key = key;
  std::vector<LinearTactic>& candidates = state->layer.candidates;
  candidates = linear_candidates(key, device_, true);
  if (candidates.size() == 1) {
    state->chosen = candidates[0];
  } else if (const auto known = cache_.find(key.str())) {
    // What is no candidate now, by another model or without the library, is measured again.
    const auto found = std::ranges::find(candidates, *known, &LinearTactic::str);
    const bool foreign = found != candidates.end() && found->kernel == LinearKernel::kCublasLt;
    if (found != candidates.end() && !(foreign && !open_library_())) {
      state->chosen = *found;
      state->unloaded = foreign;
    }
  }
  return *state;
}

std::optional<LinearTactic> LinearTuner::find(const LinearKey& key) {
  {
    const std::shared_lock lock(mutex_);
    const auto found = states_.find(key);
    if (found != states_.end()) return found->second->chosen;
  }
  const std::lock_guard lock(mutex_);
  return state_of(key).chosen;
}

std::vector<LinearTactic> LinearTuner::plan(const LinearKey& key, int64_t rows) {
  const std::lock_guard lock(mutex_);
  State& state = state_of(key);
  const bool first = state.layer.rows == 0;
  state.layer.rows = std::max(state.layer.rows, rows);
  if (state.chosen) return {*state.chosen};
  std::vector<LinearTactic>& candidates = state.layer.candidates;
  if (first && candidates.back().kernel == LinearKernel::kCublasLt && !open_library_())
    candidates.pop_back();
  if (candidates.size() == 1) state.chosen = candidates[0];
  return candidates;
}

std::vector<LinearTuner::Layer> LinearTuner::wanted() const {
  const std::shared_lock lock(mutex_);
  std::vector<Layer> layers;
  for (const State* state : order_)
    if (!state->chosen && state->layer.rows > 0) layers.push_back(state->layer);
  return layers;
}

void LinearTuner::decide(const Layer& layer, std::span<const double> times) {
  std::vector<double> costs(times.begin(), times.end());
  for (size_t i = 0; i < costs.size(); ++i)
    if (layer.candidates.at(i).kernel == LinearKernel::kCublasLt) costs[i] += kLibraryLoss;
  const size_t best = costs.empty() ? 0 : choose_by_times(costs);
  const LinearTactic& tactic = layer.candidates.at(best);
  if (!times.empty()) {
    BRAYTON_CHECK_EQ(times.size(), layer.candidates.size());
    TimingCache::Times named;
    for (size_t i = 0; i < times.size(); ++i)
      named.emplace_back(layer.candidates[i].str(), times[i]);
    cache_.put(layer.key.str(), tactic.str(), named);
    log_debug("[cuda] {}: {} takes {:.1f} us, expected was {} with {:.1f}", layer.key.str(),
              tactic.str(), times[best], layer.candidates[0].str(), times[0]);
  }
  const std::lock_guard lock(mutex_);
  State& state = state_of(layer.key);
  if (!state.chosen) state.chosen = tactic;
}

std::vector<LinearTuner::Layer> LinearTuner::take_unloaded() {
  const std::lock_guard lock(mutex_);
  std::vector<Layer> layers;
  for (State* state : order_)
    if (state->layer.rows > 0 && std::exchange(state->unloaded, false))
      layers.push_back(state->layer);
  return layers;
}

CublasLt* LinearTuner::library() {
  const std::lock_guard lock(mutex_);
  return open_library_();
}

}  // namespace brayton::cuda
