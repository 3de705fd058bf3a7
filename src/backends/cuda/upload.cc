#include "backends/cuda/upload.h"

#include <algorithm>
#include <cstring>
#include <thread>
#include <vector>

#include "backends/cuda/kernels/dequantize.h"
#include "backends/cuda/memory.h"
#include "core/check.h"
#include "core/thread_pool.h"
#include "ops/quant_blocks.h"

namespace brayton::cuda {
namespace {

// Runs work(begin, end) over [0, count) on a few threads.
template <class Work>
void in_parallel(int64_t count, const Work& work) {
  const int64_t threads = std::clamp<int64_t>(count >> 18, 1, std::min(available_cores(), 8));
  const int64_t share = (count + threads - 1) / threads;
  std::vector<std::jthread> others;
  for (int64_t i = 1; i < threads; ++i)
    others.emplace_back(
        [&, i] { work(std::min(i * share, count), std::min((i + 1) * share, count)); });
  work(0, std::min(share, count));
}

}  // namespace

void Uploader::copy(const TensorView& host, DType dtype, void* device) {
  BRAYTON_CHECK(host.contiguous());
  if (!driver_ || !host.data) return;  // planning: memory without contents
  auto* to = static_cast<std::byte*>(device);
  if (host.dtype == dtype)
    copy_bytes(static_cast<const std::byte*>(host.data), static_cast<size_t>(host.bytes()), to);
  else if (is_quantized(host.dtype))
    dequantize(host, dtype, to);
  else
    convert(host, dtype, to);
}

std::byte* Uploader::next_piece() {
  Buffer& piece = pieces_[piece_];
  if (!piece.data()) {
    piece = allocate_pinned(driver_, kPieceBytes);
    passed_[piece_] = stream_.make_event();
  } else {
    passed_[piece_]->wait();
  }
  return static_cast<std::byte*>(piece.data());
}

void Uploader::sent() {
  passed_[piece_]->record();
  piece_ = (piece_ + 1) % kPieces;
}

void Uploader::copy_bytes(const std::byte* host, size_t bytes, std::byte* device) {
  for (size_t at = 0; at < bytes; at += kPieceBytes) {
    const size_t count = std::min(kPieceBytes, bytes - at);
    std::byte* piece = next_piece();
    in_parallel(static_cast<int64_t>(count), [&](int64_t begin, int64_t end) {
      std::memcpy(piece + begin, host + at + begin, static_cast<size_t>(end - begin));
    });
    stream_.copy_to_device(device + at, piece, count);
    sent();
  }
}

void Uploader::convert(const TensorView& host, DType dtype, std::byte* device) {
  const int64_t from_size = dtype_info(host.dtype).block_bytes;
  const int64_t to_size = dtype_info(dtype).block_bytes;
  const int64_t at_once = static_cast<int64_t>(kPieceBytes) / to_size;
  const auto* from = static_cast<const std::byte*>(host.data);
  for (int64_t at = 0; at < host.elements(); at += at_once) {
    const int64_t count = std::min(at_once, host.elements() - at);
    std::byte* piece = next_piece();
    in_parallel(count, [&](int64_t begin, int64_t end) {
      std::vector<float> numbers(4096);
      for (int64_t i = begin; i < end; i += 4096) {
        const int64_t n = std::min<int64_t>(4096, end - i);
        to_f32(host.dtype, from + (at + i) * from_size, n, numbers.data());
        from_f32(dtype, numbers.data(), n, piece + i * to_size);
      }
    });
    stream_.copy_to_device(device + at * to_size, piece, static_cast<size_t>(count * to_size));
    sent();
  }
}

void Uploader::dequantize(const TensorView& host, DType dtype, std::byte* device) {
  const auto bytes = static_cast<size_t>(host.bytes());
  if (blocks_.size() < bytes) {
    stream_.synchronize();
    blocks_ = allocate_device(driver_, bytes);
  }
  copy_bytes(static_cast<const std::byte*>(host.data), bytes,
             static_cast<std::byte*>(blocks_.data()));
  cuda::dequantize(stream_, blocks_.data(), host.dtype, host.elements(), dtype, device);
}

}  // namespace brayton::cuda
