#include "backends/cuda/jit/kernel_spec.h"

#include <algorithm>

#include "core/check.h"
#include "core/hash.h"

namespace brayton::cuda {
namespace {

// Every part is the seed of the next: "ab", "c" and "a", "bc" differ.
uint64_t mix(uint64_t seed, std::string_view text) {
  return hash64(std::as_bytes(std::span(text)), seed);
}

}  // namespace

KernelSpec& KernelSpec::add(const Constant& constant) {
  if (count_ == kMaxConstants)
    throw_error(ErrorCode::kInternal,
                "[cuda] a kernel may have at most {} constants; {} is one more", kMaxConstants,
                constant.name);
  constants_[static_cast<size_t>(count_++)] = constant;
  return *this;
}

KernelSpec& KernelSpec::type(std::string_view name, DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return add({name, "float", 0});
    case DType::kF16:
      return add({name, "f16", 0});
    case DType::kBF16:
      return add({name, "bf16", 0});
    default:
      throw_error(ErrorCode::kUnsupported, "[cuda] {} of {} must be f32, f16 or bf16, got {}", name,
                  source_, dtype_name(dtype));
  }
}

uint64_t KernelSpec::hash() const {
  uint64_t seed = mix(mix(0, source_), entry_);
  for (const Constant& constant : *this) {
    seed = mix(seed, constant.name);
    seed = constant.text.empty() ? hash64(std::as_bytes(std::span(&constant.value, 1)), seed)
                                 : mix(seed, constant.text);
  }
  return seed;
}

std::string KernelSpec::str() const {
  std::string text = format("{}:{}", source_, entry_);
  for (const Constant& constant : *this) {
    if (constant.text.empty())
      text += format(" {}={}", constant.name, constant.value);
    else
      text += format(" {}={}", constant.name, constant.text);
  }
  return text;
}

bool operator==(const KernelSpec& a, const KernelSpec& b) {
  return a.source_ == b.source_ && a.entry_ == b.entry_ &&
         std::equal(a.begin(), a.end(), b.begin(), b.end());
}

}  // namespace brayton::cuda
