// Elements of the key/value cache: float32, float16 or bfloat16, read and written as float32.
#pragma once

#include "backends/cpu/kernels/simd.h"

namespace brayton::cpu::BRAYTON_CPU_LEVEL {

struct CacheF32 {
  using Element = float;
  static BRAYTON_INLINE F32 read(const float* p) { return load(p); }
  static BRAYTON_INLINE void write(float* p, F32 v) { store(p, v); }
};
struct CacheF16 {
  using Element = uint16_t;
  static BRAYTON_INLINE F32 read(const uint16_t* p) { return load_f16(p); }
  static BRAYTON_INLINE void write(uint16_t* p, F32 v) { store_f16(p, v); }
};
struct CacheBF16 {
  using Element = uint16_t;
  static BRAYTON_INLINE F32 read(const uint16_t* p) { return load_bf16(p); }
  static BRAYTON_INLINE void write(uint16_t* p, F32 v) { store_bf16(p, v); }
};

// `count` elements as float32, zeros up to whole vectors.
template <class Cache>
BRAYTON_INLINE void widen(const typename Cache::Element* source, int64_t count, float* target) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(target + i, Cache::read(source + i));
  if (i == count) return;
  typename Cache::Element rest[kLanes] = {};
  for (int64_t n = 0; n < count - i; ++n) rest[n] = source[i + n];
  store(target + i, Cache::read(rest));
}

template <class Cache>
BRAYTON_INLINE void narrow(const float* source, int64_t count, typename Cache::Element* target) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) Cache::write(target + i, load(source + i));
  if (i == count) return;
  typename Cache::Element rest[kLanes];
  Cache::write(rest, load_first(source + i, count - i));
  for (int64_t n = 0; n < count - i; ++n) target[i + n] = rest[n];
}

}  // namespace brayton::cpu::BRAYTON_CPU_LEVEL
