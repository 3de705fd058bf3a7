#include "backends/cpu/cpu_backend.h"

#include <cstring>

#include "backends/cpu/cpu_level.h"
#include "backends/cpu/cpu_memory.h"
#include "backends/cpu/cpu_stream.h"
#include "backends/cpu/level_kernels.h"
#include "backends/cpu/linear_pack.h"
#include "backends/cpu/packed_linear.h"
#include "backends/cpu/read_bandwidth.h"
#include "core/check.h"

namespace brayton {
namespace cpu {
namespace {

// The packed form of a block format that is computed with 8-bit activations.
LinearForm block_form(DType dtype) {
  switch (dtype) {
    case DType::kQ4_0:
      return LinearForm::kQ4_0;
    case DType::kQ4_1:
      return LinearForm::kQ4_1;
    case DType::kQ5_0:
      return LinearForm::kQ5_0;
    case DType::kQ5_1:
      return LinearForm::kQ5_1;
    case DType::kQ8_0:
      return LinearForm::kQ8_0;
    case DType::kQ2_K:
      return LinearForm::kQ2_K;
    case DType::kQ3_K:
      return LinearForm::kQ3_K;
    case DType::kQ4_K:
      return LinearForm::kQ4_K;
    case DType::kQ5_K:
      return LinearForm::kQ5_K;
    case DType::kQ6_K:
      return LinearForm::kQ6_K;
    default:
      throw_error(ErrorCode::kInternal, "[cpu] {} is not a block format", dtype_name(dtype));
  }
}

std::string eight_bit_tactic(DType weight) { return format("{}.q8", dtype_name(weight)); }

// "f32": float32 activations, the weight's own type where it is plain. "q4_1.q8" and the like:
// 8-bit activations.
LinearForm form_of(DType weight, const std::string& tactic) {
  if (!is_float(weight) && !is_quantized(weight))
    throw_error(ErrorCode::kUnsupported, "[linear] w must be a float or block type, got {}",
                dtype_name(weight));
  if (is_quantized(weight) && tactic == eight_bit_tactic(weight)) return block_form(weight);
  if (tactic != "f32")
    throw_error(ErrorCode::kInvalidArgument, "[linear] tactic must be f32{}, got \"{}\"",
                is_quantized(weight) ? " or " + eight_bit_tactic(weight) : "", tactic);
  if (weight == DType::kF16) return LinearForm::kF16;
  if (weight == DType::kBF16) return LinearForm::kBF16;
  return LinearForm::kF32;
}

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(Level level, int threads)
      : level_(level), kernels_(level_kernels(level)), pool_(threads) {}

  std::string kind() const override { return "cpu"; }
  std::string description() const override {
    return format("cpu: {}, {} thread{}", level_name(level_), pool_.threads(),
                  pool_.threads() == 1 ? "" : "s");
  }
  const KernelTable& kernels() const override { return kernels_.table; }
  std::unique_ptr<Stream> make_stream() override { return std::make_unique<CpuStream>(pool_); }

  Buffer allocate(size_t bytes) override { return allocate_memory(bytes); }
  Buffer allocate_pinned(size_t bytes) override { return allocate_memory(bytes); }
  int64_t free_bytes() const override { return available_memory(); }
  void copy_to_device(void* device, const void* host, size_t bytes) override {
    std::memcpy(device, host, bytes);
  }
  void copy_to_host(void* host, const void* device, size_t bytes) override {
    std::memcpy(host, device, bytes);
  }
  bool shares_host_memory() const override { return true; }

  std::vector<std::string> linear_tactics(const LinearDesc& desc) const override {
    form_of(desc.weight, "f32");
    if (is_quantized(desc.weight) && desc.compute != DType::kF32)
      return {eight_bit_tactic(desc.weight), "f32"};
    return {"f32"};
  }
  std::unique_ptr<PackedWeight> pack_linear(Stream& stream, const TensorView& w,
                                            const std::string& tactic) override {
    if (w.rank() != 2 || !w.contiguous())
      throw_error(ErrorCode::kInvalidArgument, "[linear] w must be a contiguous [N, K], got {}",
                  w.shape.str());
    const LinearForm form = form_of(w.dtype, tactic);
    const int64_t bytes = packed_linear_bytes(form, w.dim(0), w.dim(1), kernels_.lanes);
    Buffer data = allocate_memory(static_cast<size_t>(bytes), /*huge=*/true);
    cpu::pack_linear(cpu_stream(stream).pool(), w, form, kernels_.lanes, data.data());
    return std::make_unique<PackedLinear>(form, w.dim(0), w.dim(1), tactic, std::move(data));
  }
  int64_t packed_bytes(const LinearDesc& desc, const std::string& tactic) const override {
    return packed_linear_bytes(form_of(desc.weight, tactic), desc.n, desc.k, kernels_.lanes);
  }
  double measure_read_bandwidth() override { return cpu::measure_read_bandwidth(pool_); }
  DType activation_dtype(DType) const override { return DType::kF32; }
  DType table_dtype(DType stored, DType) const override { return stored; }

 private:
  Level level_;
  const LevelKernels& kernels_;
  ThreadPool pool_;
};

}  // namespace
}  // namespace cpu

std::unique_ptr<Backend> make_cpu_backend(const CpuOptions& options) {
  constexpr int kMaxThreads = 1024;
  if (options.threads < 0 || options.threads > kMaxThreads)
    throw_error(ErrorCode::kInvalidArgument, "[cpu] threads must be in [0, {}], got {}",
                kMaxThreads, options.threads);
  const cpu::Level level = cpu::choose_level(options.level);
  return std::make_unique<cpu::CpuBackend>(
      level, options.threads > 0 ? options.threads : available_cores());
}

}  // namespace brayton
