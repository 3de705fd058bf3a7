// A kernel to compile: an embedded source, its entry point and the constants it is specialised on.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "brayton/dtype.h"

namespace brayton::cuda {

// Cheap to build and to hash: a launcher makes one at every launch. Strings must be literals.
class KernelSpec {
 public:
  struct Constant {
    std::string_view name;
    std::string_view text;  // empty: `value`
    int64_t value = 0;
    friend bool operator==(const Constant&, const Constant&) = default;
  };

  // `source`: "norm" for kernels/norm.cuh; `entry`: an extern "C" __global__ function of it.
  KernelSpec(std::string_view source, std::string_view entry) : source_(source), entry_(entry) {}

  // The source sees them as macros.
  KernelSpec& define(std::string_view name, int64_t value) { return add({name, {}, value}); }
  KernelSpec& define(std::string_view name, std::string_view text) { return add({name, text, 0}); }
  KernelSpec& type(std::string_view name, DType dtype);  // float, f16 or bf16 of device/types.cuh

  std::string_view source() const { return source_; }
  std::string_view entry() const { return entry_; }
  const Constant* begin() const { return constants_.data(); }
  const Constant* end() const { return constants_.data() + count_; }
  uint64_t hash() const;
  std::string str() const;  // "norm:rms_norm T=bf16 D=4096"
  friend bool operator==(const KernelSpec& a, const KernelSpec& b);

 private:
  static constexpr int kMaxConstants = 20;
  KernelSpec& add(const Constant& constant);

  std::string_view source_, entry_;
  std::array<Constant, kMaxConstants> constants_;
  int count_ = 0;
};

}  // namespace brayton::cuda
