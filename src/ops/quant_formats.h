// The block-quantised formats of GGUF as they lie in a file: little-endian, byte-aligned.
// `d`, `m` and `dmin` are float16 bits. Source: github.com/ggml-org/ggml, src/ggml-common.h.
#pragma once

#include <array>
#include <cstdint>

namespace brayton {

// 32 elements a block. Element i < 16 is the low nibble of qs[i], element i + 16 the high one.
struct [[gnu::packed]] BlockQ4_0 {  // d * (q - 8)
  uint16_t d;
  uint8_t qs[16];
};
struct [[gnu::packed]] BlockQ4_1 {  // d * q + m
  uint16_t d, m;
  uint8_t qs[16];
};
struct [[gnu::packed]] BlockQ5_0 {  // d * (q - 16); bit i of qh is bit 4 of element i
  uint16_t d;
  uint8_t qh[4];
  uint8_t qs[16];
};
struct [[gnu::packed]] BlockQ5_1 {  // d * q + m
  uint16_t d, m;
  uint8_t qh[4];
  uint8_t qs[16];
};
struct [[gnu::packed]] BlockQ8_0 {  // d * q
  uint16_t d;
  int8_t qs[32];
};

// 256 elements a block, in groups of 16 (Q2_K, Q3_K, Q6_K) or 32 (Q4_K, Q5_K) with a scale each.
struct [[gnu::packed]] BlockQ2_K {  // d * (scale & 15) * q - dmin * (scale >> 4)
  uint8_t scales[16];
  uint8_t qs[64];
  uint16_t d, dmin;
};
struct [[gnu::packed]] BlockQ3_K {  // d * (scale - 32) * (q - 4), q's bit 2 in hmask
  uint8_t hmask[32];
  uint8_t qs[64];
  uint8_t scales[12];  // 6 bits each: see unpack_signed_scales
  uint16_t d;
};
struct [[gnu::packed]] BlockQ4_K {  // d * scale * q - dmin * min
  uint16_t d, dmin;
  uint8_t scales[12];  // 8 scales and 8 mins of 6 bits: see unpack_scales
  uint8_t qs[128];
};
struct [[gnu::packed]] BlockQ5_K {  // as Q4_K, q's bit 4 in qh
  uint16_t d, dmin;
  uint8_t scales[12];
  uint8_t qh[32];
  uint8_t qs[128];
};
struct [[gnu::packed]] BlockQ6_K {  // d * scale * (q - 32)
  uint8_t ql[128];
  uint8_t qh[64];
  int8_t scales[16];
  uint16_t d;
};

static_assert(sizeof(BlockQ4_0) == 18 && sizeof(BlockQ4_1) == 20 && sizeof(BlockQ5_0) == 22);
static_assert(sizeof(BlockQ5_1) == 24 && sizeof(BlockQ8_0) == 34 && sizeof(BlockQ2_K) == 84);
static_assert(sizeof(BlockQ3_K) == 110 && sizeof(BlockQ4_K) == 144 && sizeof(BlockQ5_K) == 176);
static_assert(sizeof(BlockQ6_K) == 210);

struct KScales {
  std::array<uint8_t, 8> scale;  // 0..63, of each group of 32
  std::array<uint8_t, 8> min;
};

// The 6-bit scales and mins of Q4_K and Q5_K.
inline KScales unpack_scales(const uint8_t (&packed)[12]) {
  KScales result;
  for (int i = 0; i < 4; ++i) {
    const uint8_t low_scale = packed[i], low_min = packed[4 + i], both = packed[8 + i];
    result.scale[i] = low_scale & 63;
    result.min[i] = low_min & 63;
    result.scale[4 + i] = static_cast<uint8_t>((both & 15) | ((low_scale >> 6) << 4));
    result.min[4 + i] = static_cast<uint8_t>((both >> 4) | ((low_min >> 6) << 4));
  }
  return result;
}

// The scales of Q3_K, of each group of 16, with their offset of 32 taken off: -32..31.
inline std::array<int8_t, 16> unpack_signed_scales(const uint8_t (&packed)[12]) {
  std::array<int8_t, 16> result;
  for (int i = 0; i < 16; ++i) {
    const int low = (packed[i % 8] >> (i / 8 * 4)) & 15;
    const int high = (packed[8 + i % 4] >> (i / 4 * 2)) & 3;
    result[i] = static_cast<int8_t>((low | (high << 4)) - 32);
  }
  return result;
}

}  // namespace brayton
