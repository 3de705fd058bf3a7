// A backend that computes nothing: its tactics say what they were asked for.
#pragma once

#include "backends/backend.h"
#include "core/check.h"

namespace brayton::testing {

class NamedTactics : public Backend {
 public:
  std::string kind() const override { return "named"; }
  std::string description() const override { return "named tactics"; }
  const KernelTable& kernels() const override { return kernels_; }
  std::unique_ptr<Stream> make_stream() override { return nullptr; }
  Buffer allocate(size_t) override { return {}; }
  Buffer allocate_pinned(size_t) override { return {}; }
  int64_t free_bytes() const override { return 0; }
  void copy_to_device(void*, const void*, size_t) override {}
  void copy_to_host(void*, const void*, size_t) override {}
  bool shares_host_memory() const override { return true; }
  // "q8_0[64, 32] bf16", then "slow".
  std::vector<std::string> linear_tactics(const LinearDesc& desc) const override {
    return {
        format("{}[{}, {}] {}", dtype_name(desc.weight), desc.n, desc.k, dtype_name(desc.compute)),
        "slow"};
  }
  std::unique_ptr<PackedWeight> pack_linear(Stream&, const TensorView&,
                                            const std::string&) override {
    return nullptr;
  }
  int64_t packed_bytes(const LinearDesc&, const std::string&) const override { return 0; }
  DType activation_dtype(DType) const override { return DType::kF32; }
  DType table_dtype(DType stored, DType) const override { return stored; }
  double measure_read_bandwidth() override { return 0; }

 private:
  KernelTable kernels_;
};

}  // namespace brayton::testing
