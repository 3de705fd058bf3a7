// The sources that a kernel is made of: its own and what it includes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "backends/cuda/jit/embedded_sources.h"

namespace brayton::cuda {

// The source called `path` first, then everything it includes, however indirectly, each once. All
// lines `#include "..."` count, whatever #if they stand in. Throws Error(kInternal) for a path that
// is not among `sources`.
std::vector<EmbeddedSource> source_closure(std::span<const EmbeddedSource> sources,
                                           const std::string& path);

// Of paths and texts.
uint64_t hash_sources(std::span<const EmbeddedSource> closure);

}  // namespace brayton::cuda
