// float16, bfloat16 and float8 as bit patterns; conversions to and from float.
#pragma once

#include <bit>
#include <cstdint>

namespace brayton {

inline float bf16_to_f32(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

// Round to nearest even; NaN stays NaN.
inline uint16_t f32_to_bf16(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

inline float f16_to_f32(uint16_t bits) {
  const uint32_t sign = uint32_t{bits & 0x8000u} << 16;
  const uint32_t rest = bits & 0x7fffu;
  if (rest >= 0x7c00u) return std::bit_cast<float>(sign | 0x7f800000u | ((rest & 0x3ffu) << 13));
  // Scale by 2^112 moves the exponent from half's bias to single's, subnormals included.
  const float magnitude =
      std::bit_cast<float>(rest << 13) * std::bit_cast<float>((254u - 15u) << 23);
  return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | sign);
}

// Round to nearest even; overflow goes to infinity.
inline uint16_t f32_to_f16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  uint32_t rest = bits & 0x7fffffffu;
  if (rest > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
  if (rest >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);
  if (rest < 0x38800000u) {  // subnormal half: let the adder round at 2^-24
    const float shifted = std::bit_cast<float>(rest) + std::bit_cast<float>(126u << 23);
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - (126u << 23)));
  }
  rest += 0xc8000fffu + ((rest >> 13) & 1u);
  return static_cast<uint16_t>(sign | (rest >> 13));
}

float f8e4m3_to_f32(uint8_t bits);  // OCP E4M3FN: no infinity, 0x7f is NaN
float f8e5m2_to_f32(uint8_t bits);

}  // namespace brayton
