// Random numbers by counter: no state, so a draw depends on (seed, position) only.
#pragma once

#include <cstdint>

namespace brayton {

// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection that mixes all bits.
inline uint64_t mix_bits(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// Uniform in [0, 1), 53 bits.
inline double uniform_at(uint64_t seed, uint64_t position) {
  return static_cast<double>(mix_bits(mix_bits(seed) ^ mix_bits(~position)) >> 11) * 0x1.0p-53;
}

}  // namespace brayton
