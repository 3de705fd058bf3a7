#include "backends/cuda/kernels/sampling/sample.h"

#include <algorithm>

#include "backends/cuda/kernels/vector_rows.h"

namespace brayton::cuda {
namespace {

// As in the sources.
constexpr int64_t kPiece = 8;
constexpr int64_t kStretch = 32 * kPiece;
constexpr int64_t kSections = 16;
constexpr int64_t kListed = 3072;
constexpr int64_t kMaxTeam = 8;
constexpr int64_t kTeamWords = 32;
constexpr int64_t kGreedyThreads = 256;
constexpr int64_t kAdmissionThreads = 512;

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

void define_rows(KernelSpec& spec, const TensorView& logits) {
  spec.type("LOGIT", logits.dtype)
      .define("VOCAB", logits.dim(1))
      .define("VECTORS", rows_aligned(logits) ? 1 : 0);
}

void launch_greedy(CudaStream& stream, const SampleArgs& args) {
  const int64_t rows = args.logits.dim(0);
  const int blocks = choose_greedy(stream.device(), rows, args.logits.dim(1));
  KernelSpec spec("sampling/greedy", "greedy");
  define_rows(spec, args.logits);
  LaunchShape shape;
  shape.grid[0] = static_cast<unsigned>(rows * blocks);
  shape.threads = kGreedyThreads;
  void* partial = stream.workspace(static_cast<size_t>(rows * blocks) * sizeof(uint64_t));
  uint32_t* arrived = stream.counters(static_cast<size_t>(rows));
  stream.launch(spec, shape, args.logits.data, args.logits.strides[0], args.slots.data,
                args.state.states.data, args.sampled.data, args.rows.data, partial, arrived,
                int32_t{blocks});
}

void launch_full(CudaStream& stream, const SampleArgs& args) {
  const int64_t rows = args.logits.dim(0), vocab = args.logits.dim(1);
  const SampleConfig config = choose_sample(stream.device(), args.logits.dtype, rows, vocab);
  KernelSpec spec("sampling/sample", "sample");
  define_rows(spec, args.logits);
  spec.define("CLUSTER", config.cluster ? 1 : 0)
      .define("THREADS", config.threads)
      .define("BLOCKS", config.blocks)
      .define("SHARED", config.shared_bytes())
      .define("WORKSPACE", config.workspace_bytes(vocab));
  LaunchShape shape;
  shape.grid[0] = static_cast<unsigned>(rows * config.team);
  shape.threads = static_cast<unsigned>(config.threads);
  shape.shared_bytes = static_cast<unsigned>(config.shared_bytes());
  shape.cluster = static_cast<unsigned>(config.team);
  void* workspace = stream.workspace(static_cast<size_t>(rows * config.workspace_bytes(vocab)));
  const SampleSlots& state = args.state;
  stream.launch(spec, shape, args.logits.data, args.logits.strides[0], args.slots.data,
                state.params.data, state.states.data, state.rules.data, state.marks.data,
                args.sampled.data, args.rows.data, args.top.data, workspace, int32_t{config.team});
}

}  // namespace

int64_t SampleConfig::shared_bytes() const {
  const int64_t sums = kSections * threads * int64_t{sizeof(uint64_t)};
  const int64_t list = kListed * 8;
  const int64_t per_thread = threads * (kPiece + 2) * int64_t{sizeof(float)};
  const int64_t forbidden = kSampleForbidden * int64_t{sizeof(int32_t)};
  return sums + list + per_thread + forbidden + 1024;  // and all that there is one of
}

int64_t SampleConfig::workspace_bytes(int64_t vocab) const {
  const int64_t exchange = 2 * kMaxTeam * kTeamWords * int64_t{sizeof(uint64_t)};
  const int64_t masses = divide_up(vocab, 2 * kStretch) * 2 * int64_t{sizeof(uint64_t)};
  return exchange + masses + threads * int64_t{sizeof(float)} + kListed * 8;
}

// Rows in flight should fit into L2, and small teams wait for each other less: so large ones only
// where the multiprocessors would be idle else.
SampleConfig choose_sample(const DeviceInfo& device, DType logits, int64_t rows, int64_t vocab) {
  SampleConfig config;
  config.cluster = device.hopper;
  if (!config.cluster) return config;
  config.blocks = logits == DType::kF32 ? 2 : 3;  // pieces of f32 take more registers
  config.team = rows * kMaxTeam <= int64_t{2} * device.multiprocessors ? kMaxTeam : kMaxTeam / 2;
  // Every warp should have something to read.
  const int64_t warps = config.threads / 32;
  while (config.team > 1 && config.team * warps * kStretch > vocab) config.team /= 2;
  return config;
}

// A few blocks for every multiprocessor, and two pieces for every thread at least.
int choose_greedy(const DeviceInfo& device, int64_t rows, int64_t vocab) {
  constexpr int64_t kMost = 64;
  const int64_t wanted = divide_up(int64_t{4} * device.multiprocessors, std::max<int64_t>(rows, 1));
  const int64_t useful = divide_up(vocab, kPiece * 2 * kGreedyThreads);
  return static_cast<int>(std::clamp<int64_t>(std::min(wanted, useful), 1, kMost));
}

void sample(Stream& any_stream, const SampleArgs& args) {
  check(args);
  if (args.logits.dim(0) == 0) return;
  CudaStream& stream = cuda_stream(any_stream);
  if (args.mode == SampleMode::kGreedy)
    launch_greedy(stream, args);
  else
    launch_full(stream, args);
}

void admit_slots(Stream& any_stream, const AdmitSlotsArgs& args) {
  check(args);
  if (args.count == 0) return;
  CudaStream& stream = cuda_stream(any_stream);
  KernelSpec spec("sampling/admit_slots", "admit_slots");
  spec.define("VOCAB", args.vocab);
  LaunchShape shape;
  shape.grid[0] = static_cast<unsigned>(args.count);
  shape.threads = kAdmissionThreads;
  const SampleSlots& state = args.state;
  stream.launch(spec, shape, args.packed.data, state.params.data, state.states.data,
                state.rules.data, state.marks.data);
}

}  // namespace brayton::cuda
