#include <cstdlib>
#include <cstring>

#include "backends/cuda/kernels/gpu_test.h"

namespace brayton::cuda {
namespace {

constexpr size_t kGuardBytes = 256;
constexpr std::byte kPoison{0xff};  // NaN in every float type

// From the first element to the last, what lies between rows included.
size_t span_bytes(const TensorView& view) {
  if (!view || view.elements() == 0) return 0;
  const DTypeInfo& info = dtype_info(view.dtype);
  if (info.block_elements > 1) return static_cast<size_t>(view.bytes());
  int64_t elements = 1;
  for (int axis = 0; axis < view.rank(); ++axis)
    elements += (view.dim(axis) - 1) * view.strides[axis];
  return static_cast<size_t>(elements * info.block_bytes);
}

std::string describe(const TensorView& view) {
  return format("the {} tensor {}", dtype_name(view.dtype), view.shape.str());
}

}  // namespace

// On the device: the span, the guard, and the span again as it was, to compare with.
DeviceTensor::DeviceTensor(Backend& backend, const TensorView& host)
    : backend_(backend), view_(host), bytes_(span_bytes(host)) {
  if (!host) return;
  std::vector<std::byte> staged(2 * bytes_ + kGuardBytes, kPoison);
  if (bytes_ > 0) {
    std::memcpy(staged.data(), host.data, bytes_);
    std::memcpy(staged.data() + bytes_ + kGuardBytes, host.data, bytes_);
  }
  memory_ = backend_.allocate(staged.size());
  backend_.copy_to_device(memory_.data(), staged.data(), staged.size());
  view_.data = memory_.data();
}

void DeviceTensor::download(const TensorView& host) const {
  ASSERT_EQ(host.shape, view_.shape) << describe(host) << " is not " << describe(view_);
  ASSERT_EQ(host.dtype, view_.dtype);
  ASSERT_EQ(host.strides, view_.strides);
  if (!host) return;
  // Kernels run on a stream of the test's own; freeing memory waits for all streams.
  backend_.allocate(1);
  std::vector<std::byte> staged(2 * bytes_ + kGuardBytes);
  backend_.copy_to_host(staged.data(), memory_.data(), staged.size());
  const std::byte* original = staged.data() + bytes_ + kGuardBytes;
  for (size_t i = 0; i < kGuardBytes; ++i)
    if (staged[bytes_ + i] != kPoison) {
      ADD_FAILURE() << "a kernel wrote " << i << " bytes behind " << describe(view_);
      break;
    }
  if (view_.contiguous() || dtype_info(view_.dtype).block_elements > 1) {
    if (bytes_ > 0) std::memcpy(host.data, staged.data(), bytes_);
    return;
  }
  const auto size = static_cast<size_t>(dtype_info(view_.dtype).block_bytes);
  std::vector<bool> inside(bytes_ / size);
  testing::for_each_element(view_, [&](int64_t at) {
    const size_t offset = static_cast<size_t>(at) * size;
    inside[static_cast<size_t>(at)] = true;
    std::memcpy(static_cast<std::byte*>(host.data) + offset, staged.data() + offset, size);
  });
  for (size_t i = 0; i < inside.size(); ++i)
    if (!inside[i] && std::memcmp(staged.data() + i * size, original + i * size, size) != 0) {
      ADD_FAILURE() << "a kernel wrote between the rows of " << describe(view_) << ", " << i
                    << " elements from its start";
      break;
    }
}

Backend& GpuTest::backend() {
  // Never destroyed: at the process's end the driver may be gone before it.
  static Backend* const backend = [] {
    const char* portable = std::getenv("BRAYTON_TEST_PORTABLE");
    CudaOptions options;
    options.portable = portable && std::string_view(portable) == "1";
    options.tune = false;  // tests name the kernels they are about
    options.library_dirs = BRAYTON_NVRTC_FOLDER;
    return make_cuda_backend(options).release();
  }();
  return *backend;
}

testing::Tolerance rounding_tolerance(DType dtype, double typical) {
  // The expected value was rounded as well: they may lie on both sides of a boundary, one unit of
  // the last place apart. Sums differ by their order, some 1e-5 of their size.
  switch (dtype) {
    case DType::kBF16:
      return {3e-5 * typical, 1.0 / 128 + 1e-5};
    case DType::kF16:
      return {3e-5 * typical + 6e-8, 1.0 / 1024 + 1e-5};
    default:
      return {2e-5 * typical, 4e-6};
  }
}

}  // namespace brayton::cuda
