// A compiled kernel, what the assembler said about it, and both as bytes for files.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace brayton::cuda {

// All zero for PTX: the driver assembles it.
struct KernelStats {
  int registers = 0;                  // a thread
  int shared_bytes = 0;               // static, a block
  int spill_bytes = 0;                // stores and loads, a thread
  int stack_bytes = 0;                // frame, a thread
  std::vector<std::string> warnings;  // of the compiler, and the assembler's remarks like (C7510)
};

// What `--ptxas-options=-v` printed about `entry` and the functions it may call.
KernelStats parse_compile_log(std::string_view log, std::string_view entry);

struct CompiledKernel {
  std::vector<std::byte> image;  // a cubin, or PTX that ends with a zero
  std::string entry;
  KernelStats stats;
};

// What engine files and the disk cache hold.
std::vector<std::byte> pack_kernel(const CompiledKernel& kernel);
// Nothing where the bytes are no packed kernel, whole and of this version.
std::optional<CompiledKernel> unpack_kernel(std::span<const std::byte> bytes);

}  // namespace brayton::cuda
