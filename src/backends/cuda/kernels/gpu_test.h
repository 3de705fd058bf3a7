// What tests of CUDA kernels share: one backend, tensors on the device, comparison on the host.
#pragma once

#include <memory>

#include "backends/backend.h"
#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/cuda_stream.h"
#include "testing/op_test.h"

namespace brayton::cuda {

// A copy of a host tensor on the device, rows as far apart; device memory that nothing was copied
// to is poisoned with NaN. Guard bytes behind it are checked by download().
class DeviceTensor {
 public:
  DeviceTensor(Backend& backend, const TensorView& host);
  const TensorView& view() const { return view_; }
  operator const TensorView&() const { return view_; }  // NOLINT: stands for its view
  // Into a host tensor of the same shape and strides; fails the test when a guard byte changed.
  void download(const TensorView& host) const;

 private:
  Backend& backend_;
  Buffer memory_;
  TensorView view_;
  size_t bytes_ = 0;
};

class GpuTest : public ::testing::Test {
 protected:
  GpuTest() : stream_(backend().make_stream()) {}
  // One for all tests. With BRAYTON_TEST_PORTABLE=1 in the environment it compiles for compute_80.
  static Backend& backend();
  Stream& stream() { return *stream_; }
  CudaStream& cuda() { return cuda_stream(*stream_); }
  DeviceTensor on_device(const TensorView& host) { return DeviceTensor(backend(), host); }
  // A weight [n, k] of the activations' type, as linear kernels want it.
  std::unique_ptr<PackedWeight> pack(const TensorView& host, const std::string& tactic) {
    return backend().pack_linear(*stream_, host, tactic);
  }
  uint32_t seed_ = testing::fresh_seed();
  std::mt19937 random_{seed_};
  ::testing::ScopedTrace trace_{__FILE__, __LINE__, testing::seed_text(seed_)};

 private:
  std::unique_ptr<Stream> stream_;
};

// Bounds of a result that was rounded to `dtype` once, after sums in float32 of products of `dtype`
// values: absolute in units of the result's typical size.
testing::Tolerance rounding_tolerance(DType dtype, double typical);

}  // namespace brayton::cuda
