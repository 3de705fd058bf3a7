// Weights from mapped files to the device, through pinned pieces, converted on the way.
#pragma once

#include "backends/backend.h"
#include "backends/cuda/cuda_stream.h"

namespace brayton::cuda {

// Copies a contiguous host tensor to `device` as `dtype`. Block formats travel packed and are
// dequantised on the device; other types are converted on the host. Returns when the host tensor
// is no longer needed.
class Uploader {
 public:
  Uploader(const Driver* driver, CudaStream& stream) : driver_(driver), stream_(stream) {}
  void copy(const TensorView& host, DType dtype, void* device);

 private:
  void copy_bytes(const std::byte* host, size_t bytes, std::byte* device);
  void convert(const TensorView& host, DType dtype, std::byte* device);
  void dequantize(const TensorView& host, DType dtype, std::byte* device);
  std::byte* next_piece();
  void sent();

  static constexpr size_t kPieceBytes = size_t{16} << 20;
  static constexpr int kPieces = 2;

  const Driver* driver_;
  CudaStream& stream_;
  Buffer pieces_[kPieces];
  std::unique_ptr<Event> passed_[kPieces];
  int piece_ = 0;
  Buffer blocks_;  // packed block formats on the device, until they are dequantised
};

}  // namespace brayton::cuda
