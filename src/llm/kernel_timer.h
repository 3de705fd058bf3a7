// What the rows of `brayton bench kernels` are made of: tensors of random numbers, and the time of
// a launch.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "llm/bench_kernels.h"

namespace brayton {

class KernelTimer {
 public:
  using Launch = std::function<void(int)>;  // with the i-th set of inputs

  // `done` may be empty; the backend must outlive the timer.
  KernelTimer(Backend& backend, std::string filter,
              const std::function<void(const KernelTime&)>& done);

  Backend& backend() const { return backend_; }
  const KernelTable& kernels() const { return backend_.kernels(); }
  Stream& stream() const { return *stream_; }
  bool wanted(const std::string& kernel, const std::string& shape) const;

  // Device memory that lives until the row is measured. bf16 ones hold normal numbers of that
  // deviation, others zeros.
  TensorView tensor(DType dtype, const Shape& shape, float deviation = 1.0f);
  TensorView numbers(const std::vector<float>& values);
  TensorView integers(const Shape& shape, const std::vector<int32_t>& values);
  // Sets of inputs of so many bytes after which the caches have forgotten the first.
  static int cold_sets(int64_t bytes);
  // [n, k] of bf16, so many times.
  std::vector<const PackedWeight*> weights(int64_t n, int64_t k, int sets);

  // Times launches of `kernel`, and of the vendor's, and adds the row. Frees all tensors.
  void measure(KernelTime row, const Launch& launch, const Launch& library = {});
  // Bounds by all that was measured.
  KernelBench finish();

 private:
  double seconds(const Launch& launch);
  void bound(KernelTime& row) const;
  std::vector<uint16_t>& tile(float deviation);

  Backend& backend_;
  std::unique_ptr<Stream> stream_;
  const std::string filter_;
  const std::function<void(const KernelTime&)>& done_;
  KernelBench result_;
  std::deque<std::pair<float, std::vector<uint16_t>>> tiles_;  // by deviation
  std::deque<Buffer> buffers_;
  std::deque<std::unique_ptr<PackedWeight>> weights_;
};

// A part of the rows each.
void bench_linears(KernelTimer& timer);
void bench_attention(KernelTimer& timer);
void bench_row_ops(KernelTimer& timer);
void bench_sampling(KernelTimer& timer);

}  // namespace brayton
