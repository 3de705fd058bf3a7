#include "builder/dummy_weights.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <deque>
#include <span>

#include "core/check.h"
#include "core/checked_math.h"
#include "core/hash.h"
#include "ops/quant_blocks.h"

namespace brayton {
namespace {

constexpr int64_t kTileBytes = int64_t{64} << 20;
constexpr int64_t kPage = 65536;  // a multiple of every page size
constexpr float kDeviation = 0.02f;

[[noreturn]] void fail(const char* call) {
  throw_error(ErrorCode::kEnvironment, "[dummy weights] {}: {}", call, std::strerror(errno));
}

uint64_t next_random(uint64_t& state) {  // splitmix64
  uint64_t z = (state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

// Value at which the normal distribution function reaches p in (0, 1), by bisection.
float normal_quantile(double p) {
  double low = -8, high = 8;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (0.5 * std::erfc(-middle / std::sqrt(2.0)) < p ? low : high) = middle;
  }
  return static_cast<float>(low);
}

// 4096 equally likely values of N(0, kDeviation^2).
const std::array<float, 4096>& normal_table() {
  static const std::array<float, 4096> table = [] {
    std::array<float, 4096> values;
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = kDeviation * normal_quantile((static_cast<double>(i) + 0.5) / 4096);
    return values;
  }();
  return table;
}

void fill_normal(std::span<float> values, uint64_t seed) {
  const std::array<float, 4096>& table = normal_table();
  size_t i = 0;
  while (i < values.size()) {
    uint64_t bits = next_random(seed);
    for (int draw = 0; draw < 5 && i < values.size(); ++draw, bits >>= 12)
      values[i++] = table[bits & 4095];
  }
}

uint64_t seed_of(const std::string& name, uint64_t seed) {
  return hash64(std::as_bytes(std::span(name)), seed);
}

class Memory {
 public:
  ~Memory() {
    if (mapping_) ::munmap(mapping_, static_cast<size_t>(mapped_));
    if (tile_fd_ >= 0) ::close(tile_fd_);
  }

  TensorView vector(const std::string& name, DType dtype, const Shape& shape, uint64_t seed) {
    std::vector<float> values(static_cast<size_t>(shape.elements()));
    fill_normal(values, seed_of(name, seed));
    if (name.ends_with("weight"))
      for (float& value : values) value += 1.0f;
    auto& bytes = vectors_.emplace_back(static_cast<size_t>(storage_bytes(dtype, shape)));
    from_f32(dtype, values.data(), shape.elements(), bytes.data());
    return {bytes.data(), dtype, shape};
  }

  // Reserves address space for matrices of `bytes` in all, rounded up to pages one by one.
  void reserve(int64_t bytes, DType dtype, uint64_t seed) {
    if (bytes == 0) return;
    make_tile(std::min(kTileBytes, bytes), dtype, seed);
    void* mapping = ::mmap(nullptr, static_cast<size_t>(bytes), PROT_NONE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED) fail("mmap");
    mapping_ = static_cast<std::byte*>(mapping);
    mapped_ = bytes;
  }

  TensorView matrix(const std::string& name, DType dtype, const Shape& shape, uint64_t seed) {
    const int64_t bytes = round_up(storage_bytes(dtype, shape), kPage);
    BRAYTON_CHECK_LE(used_ + bytes, mapped_);
    std::byte* const begin = mapping_ + used_;
    used_ += bytes;
    const auto pages = static_cast<uint64_t>(tile_bytes_ / kPage);
    auto from = static_cast<int64_t>(seed_of(name, seed) % pages) * kPage;
    for (int64_t at = 0; at < bytes;) {
      const int64_t count = std::min(bytes - at, tile_bytes_ - from);
      if (::mmap(begin + at, static_cast<size_t>(count), PROT_READ, MAP_SHARED | MAP_FIXED,
                 tile_fd_, from) == MAP_FAILED)
        fail("mmap");
      at += count;
      from = 0;
    }
    return {begin, dtype, shape};
  }

 private:
  void make_tile(int64_t bytes, DType dtype, uint64_t seed) {
    tile_bytes_ = round_up(bytes, kPage);
    tile_fd_ = ::memfd_create("brayton-dummy-weights", MFD_CLOEXEC);
    if (tile_fd_ < 0) fail("memfd_create");
    if (::ftruncate(tile_fd_, tile_bytes_) != 0) fail("ftruncate");
    void* tile = ::mmap(nullptr, static_cast<size_t>(tile_bytes_), PROT_READ | PROT_WRITE,
                        MAP_SHARED, tile_fd_, 0);
    if (tile == MAP_FAILED) fail("mmap");
    std::vector<float> values(1 << 16);
    const int64_t size = dtype_info(dtype).block_bytes;
    for (int64_t done = 0; done < tile_bytes_ / size;) {
      const int64_t count =
          std::min<int64_t>(static_cast<int64_t>(values.size()), tile_bytes_ / size - done);
      fill_normal({values.data(), static_cast<size_t>(count)},
                  seed + static_cast<uint64_t>(done) * 0xd1342543de82ef95u);
      from_f32(dtype, values.data(), count, static_cast<std::byte*>(tile) + done * size);
      done += count;
    }
    ::munmap(tile, static_cast<size_t>(tile_bytes_));
  }

  std::deque<std::vector<std::byte>> vectors_;
  int tile_fd_ = -1;
  int64_t tile_bytes_ = 0;
  std::byte* mapping_ = nullptr;
  int64_t mapped_ = 0, used_ = 0;
};

}  // namespace

DummyWeights make_dummy_weights(const Plan& plan, uint64_t seed) {
  const auto memory = std::make_shared<Memory>();
  int64_t matrix_bytes = 0;
  for (const PlanValue& value : plan.values) {
    if (value.kind != PlanValue::Kind::kWeight) continue;
    if (value.type.dtype != plan.dtype ||
        (plan.dtype != DType::kF32 && plan.dtype != DType::kF16 && plan.dtype != DType::kBF16))
      throw_error(ErrorCode::kUnsupported, "[dummy weights] '{}' must be f32, f16 or bf16, got {}",
                  value.name, dtype_name(value.type.dtype));
    if (value.type.rank() < 2) continue;
    const std::optional<int64_t> sum =
        checked_add(matrix_bytes, round_up(storage_bytes(plan.dtype, value.type.shape()), kPage));
    if (!sum)
      throw_error(ErrorCode::kInvalidModel, "[dummy weights] must have fewer than 2^63 bytes");
    matrix_bytes = *sum;
  }
  memory->reserve(matrix_bytes, plan.dtype, seed);
  DummyWeights weights;
  for (const PlanValue& value : plan.values) {
    if (value.kind != PlanValue::Kind::kWeight) continue;
    const Shape shape = value.type.shape();
    weights.tensors[value.name] = shape.rank() < 2
                                      ? memory->vector(value.name, plan.dtype, shape, seed)
                                      : memory->matrix(value.name, plan.dtype, shape, seed);
  }
  weights.owner = memory;
  return weights;
}

}  // namespace brayton
