// Content hashes (xxHash XXH3). They find damage, not malice.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace brayton {

uint64_t hash64(std::span<const std::byte> bytes, uint64_t seed = 0);

}  // namespace brayton
