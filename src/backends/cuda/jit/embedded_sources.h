// The kernels' sources, device/*.cuh and kernels/**/*.cuh, as they lie in the binary.
#pragma once

#include <span>
#include <string_view>

namespace brayton::cuda {

struct EmbeddedSource {
  std::string_view path;  // as sources include it: "device/types.cuh", "kernels/gemm/skinny.cuh"
  std::string_view text;
};

// Sorted by path. Written by cmake/embed_sources.cmake.
std::span<const EmbeddedSource> embedded_sources();

}  // namespace brayton::cuda
