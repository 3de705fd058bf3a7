// The CPU's linear kernels over the shapes of SmolLM2-135M, against what bounds them: for one token
// the memory bandwidth, read here by summing a large array; for many the multiply-add units, read
// here by a loop without memory. Weights are many times the cache, as those of a model are.
//   brayton_bench_kernels [--threads N] [--level L] [--filter TEXT]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "backends/cpu/cpu_backend.h"
#include "benchmarks/machine_bounds.h"
#include "core/format.h"
#include "core/thread_pool.h"

namespace brayton {
namespace {

// Random bits; the float16 scales of a block format, wherever they are, stay finite and moderate.
std::vector<uint8_t> random_weight(DType dtype, int64_t n, int64_t k) {
  std::vector<uint8_t> bytes(static_cast<size_t>(storage_bytes(dtype, {n, k})));
  std::mt19937 random(1);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random() & 0x2f);
  return bytes;
}

struct Shape2 {
  const char* name;
  int64_t n, k;
};
constexpr Shape2 kShapes[] = {{"qkv", 960, 576},
                              {"o", 576, 576},
                              {"gate_up", 3072, 576},
                              {"down", 576, 1536},
                              {"head", 49152, 576}};

class Bench {
 public:
  Bench(const CpuOptions& options, const Bounds& bounds)
      : backend_(make_cpu_backend(options)), stream_(backend_->make_stream()), bounds_(bounds) {}

  void measure(DType dtype, DType compute, const Shape2& shape) {
    if (shape.k % dtype_info(dtype).block_elements != 0) return;
    const std::vector<uint8_t> bytes = random_weight(dtype, shape.n, shape.k);
    const TensorView w(bytes.data(), dtype, {shape.n, shape.k});
    const LinearDesc desc = {dtype, shape.n, shape.k, compute};
    const std::string tactic = backend_->linear_tactics(desc).front();
    const int64_t size = backend_->packed_bytes(desc, tactic);
    const auto copies = static_cast<size_t>(std::max<int64_t>(1, (int64_t{128} << 20) / size));
    std::vector<std::unique_ptr<PackedWeight>> weights;
    const Clock::time_point begin = Clock::now();
    for (size_t i = 0; i < copies; ++i)
      weights.push_back(backend_->pack_linear(*stream_, w, tactic));
    const double pack = seconds_since(begin) / static_cast<double>(copies);
    std::printf("%-8s %-8s %5ld %5ld  pack %5.1f GB/s",
                tactic == "f32" ? std::string(dtype_name(dtype)).c_str() : tactic.c_str(),
                shape.name, shape.n, shape.k, static_cast<double>(size) / pack * 1e-9);
    for (const int64_t tokens : {1, 4, 16, 128, 512}) {
      if (tokens * shape.n > int64_t{1} << 22) continue;
      const double seconds = linear_seconds(weights, shape, tokens);
      const double pairs = static_cast<double>(tokens * shape.n * shape.k) / seconds;
      const double rate = static_cast<double>(size) / seconds;
      const double peak = tactic == "f32" ? bounds_.float_pairs_per_s : bounds_.integer_pairs_per_s;
      const double share = std::max(rate / bounds_.bytes_per_s, peak > 0 ? pairs / peak : 0.0);
      if (tokens == 1) {
        std::printf("  T=1 %6.1f us %5.1f GB/s %3.0f%%", seconds * 1e6, rate * 1e-9, 100 * share);
      } else {
        std::printf("  T=%ld %5.0f GMAC/s %3.0f%%", tokens, pairs * 1e-9, 100 * share);
      }
      std::fflush(stdout);
    }
    std::printf("\n");
  }

  // One token through all linear layers of the model, and 512.
  void measure_model() {
    struct Layer {
      std::vector<std::unique_ptr<PackedWeight>> parts;
    };
    std::vector<Layer> layers(30);
    int64_t bytes = 0;
    double pack_s = 0;
    for (Layer& layer : layers)
      for (int i = 0; i < 4; ++i)
        layer.parts.push_back(pack(DType::kQ4_1, kShapes[i], bytes, pack_s));
    const auto head = pack(DType::kQ8_0, kShapes[4], bytes, pack_s);
    std::printf("SmolLM2-135M Q4_1: %.0f MB packed in %.0f ms\n", static_cast<double>(bytes) * 1e-6,
                pack_s * 1e3);
    for (const int64_t tokens : {1, 512}) {
      const double seconds = best_of(tokens == 1 ? 20 : 3, [&] {
        for (const Layer& layer : layers)
          for (size_t i = 0; i < 4; ++i) run(*layer.parts[i], kShapes[i], tokens);
        run(*head, kShapes[4], 1);
      });
      const double rate = static_cast<double>(bytes) / seconds;
      std::printf("all linears of SmolLM2-135M Q4_1, %ld tokens: %.2f ms, %.0f tok/s", tokens,
                  seconds * 1e3, static_cast<double>(tokens) / seconds);
      if (tokens == 1)
        std::printf(", %.1f GB/s, %.0f%% of the read bandwidth", rate * 1e-9,
                    100 * rate / bounds_.bytes_per_s);
      std::printf("\n");
    }
  }

 private:
  std::unique_ptr<PackedWeight> pack(DType dtype, const Shape2& shape, int64_t& bytes,
                                     double& seconds) {
    const std::vector<uint8_t> raw = random_weight(dtype, shape.n, shape.k);
    const LinearDesc desc = {dtype, shape.n, shape.k, DType::kF16};
    const Clock::time_point begin = Clock::now();
    auto packed = backend_->pack_linear(*stream_, TensorView(raw.data(), dtype, {shape.n, shape.k}),
                                        backend_->linear_tactics(desc).front());
    seconds += seconds_since(begin);
    bytes += packed->bytes();
    return packed;
  }

  void run(const PackedWeight& weight, const Shape2& shape, int64_t tokens) {
    x_.resize(static_cast<size_t>(std::max<int64_t>(tokens * shape.k, 1)), 0.5f);
    y_.resize(std::max(y_.size(), static_cast<size_t>(tokens * shape.n)));
    LinearArgs args;
    args.x = TensorView(x_.data(), DType::kF32, {tokens, shape.k});
    args.y = TensorView(y_.data(), DType::kF32, {tokens, shape.n});
    args.packed = &weight;
    backend_->kernels().linear(*stream_, args);
  }

  double linear_seconds(const std::vector<std::unique_ptr<PackedWeight>>& weights,
                        const Shape2& shape, int64_t tokens) {
    const size_t calls = tokens > 16 ? std::min<size_t>(weights.size(), 8) : weights.size();
    return best_of(3,
                   [&] {
                     for (size_t i = 0; i < calls; ++i) run(*weights[i], shape, tokens);
                   }) /
           static_cast<double>(calls);
  }

  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Stream> stream_;
  Bounds bounds_;
  std::vector<float> x_, y_;
};

int run_bench(const std::vector<std::string>& arguments) {
  CpuOptions options;
  std::string filter;
  for (size_t i = 0; i + 1 < arguments.size(); i += 2) {
    if (arguments[i] == "--threads") options.threads = std::stoi(arguments[i + 1]);
    if (arguments[i] == "--level") options.level = arguments[i + 1];
    if (arguments[i] == "--filter") filter = arguments[i + 1];
  }
  const std::string description = make_cpu_backend(options)->description();
  const std::string level = description.substr(5, description.find(',') - 5);
  ThreadPool pool(options.threads > 0 ? options.threads : available_cores());
  const Bounds bounds = {read_bandwidth(pool), peak(pool, level, true), peak(pool, level, false)};
  std::printf("%s; bounds: read %.1f GB/s, int8 %.0f GMAC/s, f32 %.0f GMAC/s\n",
              description.c_str(), bounds.bytes_per_s * 1e-9, bounds.integer_pairs_per_s * 1e-9,
              bounds.float_pairs_per_s * 1e-9);
  Bench bench(options, bounds);
  for (const DType dtype : {DType::kQ4_0, DType::kQ4_1, DType::kQ8_0, DType::kQ4_K, DType::kQ6_K,
                            DType::kBF16, DType::kF16, DType::kF32})
    for (const Shape2& shape : kShapes) {
      const Shape2 rounded = {
          shape.name, shape.n,
          dtype == DType::kQ4_K || dtype == DType::kQ6_K ? (shape.k + 255) / 256 * 256 : shape.k};
      if (format("{} {}", dtype_name(dtype), shape.name).find(filter) != std::string::npos)
        bench.measure(dtype, DType::kF16, rounded);
    }
  if (std::string("model").find(filter) != std::string::npos) bench.measure_model();
  return 0;
}

}  // namespace
}  // namespace brayton

int main(int count, char** arguments) {
  return brayton::run_bench({arguments + 1, arguments + count});
}
