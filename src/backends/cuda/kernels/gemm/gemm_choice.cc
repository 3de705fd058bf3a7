// The choice of GEMM tiles, by a model of what bounds a block's step through the ring.
#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "backends/cuda/kernels/gemm/gemm_hopper.h"
#include "core/check.h"

namespace brayton::cuda {
namespace {

constexpr int64_t kRowBuckets[] = {64,   128,  192,  256,  384,  512,  768,  1024, 1280,
                                   1536, 1792, 2048, 2560, 3072, 4096, 6144, 8192};

constexpr int64_t kAlignment = 1024;     // of the ring, whose start the launch does not align
constexpr int64_t kBarrierBytes = 1024;  // more than enough
constexpr int kMostStages = 10;          // deeper ones only delay the first product
constexpr int kFewestStages = 3;
constexpr int kStepDepth = 64;

// Of an H100, per multiprocessor and clock at the clock it holds under such load.
constexpr double kGigahertz = 1.55;
constexpr double kProducts = 2048 * 0.95;  // by the tensor cores
constexpr double kSharedBytes = 128;       // read from shared memory
constexpr double kArrivingBytes = 56;      // into shared memory
constexpr double kL2Bytes = 32;            // from L2, while all multiprocessors read
constexpr double kMemoryBytesPerSecond = 2.9e12;
constexpr double kLatency = 2000;      // clocks from a copy's issue to its arrival
constexpr double kRamp = 3000;         // clocks before the first product, and after the last
constexpr double kExchange = 2500;     // clocks of an exchange between splits, but for bytes
constexpr double kExchangeBytes = 12;  // written and read, per clock

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

int tile_columns(const GemmChoice& choice, bool gated) {
  return gated ? choice.tile_n / 2 : choice.tile_n;
}

int64_t stage_bytes(const GemmChoice& choice) { return (choice.tile_m() + choice.tile_n) * 128; }

// Two chunks of 16 rows for every warp.
int64_t staging_bytes(const GemmChoice& choice) {
  return int64_t{4} * choice.consumers * 2 * 16 * choice.chunk * 2;
}

// The widest chunks of results that leave room for the most stages.
void choose_stages(GemmChoice& choice, int columns, const DeviceInfo& device) {
  choice.stages = 0;
  for (const int chunk : {64, 32, 16}) {
    if (columns % chunk != 0) continue;
    GemmChoice other = choice;
    other.chunk = chunk;
    other.stages = 0;
    const int64_t left = device.shared_per_block - gemm_shared_bytes(other);
    other.stages = static_cast<int>(std::clamp<int64_t>(left / stage_bytes(other), 0, kMostStages));
    if (other.stages > choice.stages) choice = other;
  }
}

int64_t cluster_tiles(const GemmShape& shape, const GemmChoice& choice) {
  const int64_t columns = shape.gated ? shape.n / 2 : shape.n;
  return divide_up(shape.rows, choice.tile_m() * choice.cluster_m) *
         divide_up(columns, tile_columns(choice, shape.gated) * choice.cluster_n);
}

// How many clusters run at once. A cluster lies within one of the GPU's 7 or 8 groups of
// multiprocessors. Pairs fill them; of the others fewer fit than there are multiprocessors for, as
// the groups' sizes are uneven and differ from chip to chip (on an H100 14, 16 or 18: 14 or 15
// clusters of 8 have been seen). A cluster too many would double the time.
int64_t resident_clusters(const GemmChoice& choice, const DeviceInfo& device) {
  const int blocks = choice.blocks();
  const int unused = blocks <= 2 ? 0 : 12;
  return std::max(1, (device.multiprocessors - unused) / blocks);
}

int64_t bucket_of(int64_t rows) {
  for (const int64_t bucket : kRowBuckets)
    if (rows <= bucket) return bucket;
  return std::end(kRowBuckets)[-1];
}

bool splits_run_at_once(const GemmShape& shape, const GemmChoice& choice,
                        const DeviceInfo& device) {
  if (shape.rows == std::end(kRowBuckets)[-1]) return false;  // stands for any larger number too
  return choice.splits <= divide_up(shape.k, kStepDepth) && choice.blocks() <= 2 &&
         cluster_tiles(shape, choice) * choice.splits <= resident_clusters(choice, device);
}

// What the kernel demands. Splits wait for each other, so that all must run.
bool possible(const GemmShape& shape, const GemmChoice& choice, const DeviceInfo& device) {
  const int boxes = std::max(choice.cluster_m, shape.gated ? 2 : 1);
  const int columns = tile_columns(choice, shape.gated);
  if (choice.tile_n % (8 * boxes) != 0) return false;
  if (choice.tile_n % (16 * choice.splits) != 0 || columns % choice.splits != 0 ||
      columns / choice.splits % 16 != 0)
    return false;
  if (choice.consumers == 3 && choice.tile_n > 192) return false;  // registers
  if (choice.tile_m() / choice.cluster_n % 8 != 0) return false;
  return choice.splits == 1 || splits_run_at_once(shape, choice, device);
}

// Calls visit(choice, microseconds) for all that are worth a thought, in a fixed order. Launches
// choose too, so that this takes microseconds itself.
template <class Visit>
void for_each_choice(const GemmShape& exact, const DeviceInfo& device, const Visit& visit) {
  constexpr std::pair<int, int> kClusters[] = {{1, 1}, {2, 1}, {1, 2}, {2, 2}, {1, 4}};
  GemmShape shape = exact;
  shape.rows = bucket_of(exact.rows);
  for (const int consumers : {2, 1, 3}) {
    if (consumers == 1 ? shape.rows > 128 : consumers == 3 && shape.rows <= 128) continue;
    for (const int tile_n : {256, 224, 192, 160, 128, 96, 64, 32})
      for (const auto& [cluster_m, cluster_n] : kClusters) {
        if (cluster_m > 1 && shape.rows <= 64 * consumers) continue;
        for (const int splits : {1, 2, 3, 4}) {
          GemmChoice choice{consumers, tile_n, cluster_m, cluster_n, splits};
          if (!possible(shape, choice, device)) continue;
          choose_stages(choice, tile_columns(choice, shape.gated) / splits, device);
          if (choice.stages >= kFewestStages)
            visit(choice, gemm_microseconds(shape, choice, device));
        }
      }
  }
}

}  // namespace

std::span<const int64_t> gemm_row_buckets() { return kRowBuckets; }

int64_t gemm_shared_bytes(const GemmChoice& choice) {
  return kAlignment + choice.stages * stage_bytes(choice) + staging_bytes(choice) + kBarrierBytes;
}

int64_t gemm_clusters(const GemmShape& shape, const GemmChoice& choice, const DeviceInfo& device) {
  const int64_t tiles = cluster_tiles(shape, choice);
  if (choice.splits > 1) return tiles * choice.splits;  // with one tile each
  return std::min(tiles, resident_clusters(choice, device));
}

double gemm_microseconds(const GemmShape& shape, const GemmChoice& choice,
                         const DeviceInfo& device) {
  const double m = choice.tile_m(), n = choice.tile_n;
  const int64_t tiles = cluster_tiles(shape, choice);
  const int64_t clusters = gemm_clusters(shape, choice, device);
  const double waves = static_cast<double>(divide_up(tiles * choice.splits, clusters));
  const double busy =
      static_cast<double>(clusters * choice.blocks()) / static_cast<double>(device.multiprocessors);

  const double products = m * n * kStepDepth / kProducts;
  const double reads = choice.consumers * 4 * (64 + n) * 32 / kSharedBytes;
  const double arrivals = (m + n) * 128 / kArrivingBytes;
  const double l2 = (m / choice.cluster_n + n / choice.cluster_m) * 128 * busy / kL2Bytes;
  const double latency = kLatency / choice.stages;
  const double step = std::max({products, reads, arrivals, l2, latency});
  const double steps = static_cast<double>(divide_up(shape.k, kStepDepth)) / choice.splits;
  // Results are written while other blocks' products go on: a part of it costs.
  const double results = 400 + n / choice.splits * 2;
  double clocks = waves * (steps * step + results) + kRamp;
  if (choice.splits > 1)
    clocks += kExchange + m * n * 4 * (choice.splits - 1) / choice.splits / kExchangeBytes;
  // Synchronising and placing bigger clusters is not free.
  clocks *= 1.0 + 0.005 * (choice.blocks() - 1);
  // Three consumers have few registers to spare and a shallow ring.
  if (choice.consumers == 3) clocks *= 1.02;

  const double columns = static_cast<double>(shape.gated ? shape.n / 2 : shape.n);
  const double bytes =
      2.0 * (static_cast<double>(shape.n) * static_cast<double>(shape.k) +
             static_cast<double>(shape.rows) * (static_cast<double>(shape.k) + columns));
  // A few idle multiprocessors do not matter to memory, a third of them does.
  const double rate = kMemoryBytesPerSecond * std::min(1.0, 1.15 * busy);
  const double memory = bytes / rate * 1e6 + kRamp / kGigahertz * 1e-3;
  const double computing = clocks / kGigahertz * 1e-3;
  // The one that takes less time is not quite hidden behind the other.
  return std::max(computing, memory) + 0.1 * std::min(computing, memory);
}

std::vector<GemmChoice> gemm_candidates(const GemmShape& shape, const DeviceInfo& device,
                                        int count) {
  std::vector<std::pair<double, GemmChoice>> found;
  for_each_choice(shape, device, [&](const GemmChoice& choice, double microseconds) {
    found.emplace_back(microseconds, choice);
  });
  BRAYTON_CHECK(!found.empty());
  std::stable_sort(found.begin(), found.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<GemmChoice> best;
  for (size_t i = 0; i < found.size() && i < static_cast<size_t>(std::max(count, 1)); ++i)
    best.push_back(found[i].second);
  return best;
}

GemmChoice choose_gemm(const GemmShape& shape, const DeviceInfo& device) {
  GemmChoice best;
  double least = HUGE_VAL;
  for_each_choice(shape, device, [&](const GemmChoice& choice, double microseconds) {
    if (microseconds >= least) return;
    least = microseconds;
    best = choice;
  });
  return best;
}

}  // namespace brayton::cuda
