#include "ops/quant_blocks.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/check.h"
#include "core/half.h"
#include "ops/quant_formats.h"

namespace brayton {
namespace {

// Products and sums below round to float32 one after the other: that order is the format.

void decode(const BlockQ4_0& block, float* y) {
  const float d = f16_to_f32(block.d);
  for (int i = 0; i < 16; ++i) {
    y[i] = d * static_cast<float>((block.qs[i] & 15) - 8);
    y[i + 16] = d * static_cast<float>((block.qs[i] >> 4) - 8);
  }
}

void decode(const BlockQ4_1& block, float* y) {
  const float d = f16_to_f32(block.d), m = f16_to_f32(block.m);
  for (int i = 0; i < 16; ++i) {
    y[i] = d * static_cast<float>(block.qs[i] & 15) + m;
    y[i + 16] = d * static_cast<float>(block.qs[i] >> 4) + m;
  }
}

int fifth_bit(const uint8_t (&qh)[4], int i) { return ((qh[i / 8] >> (i % 8)) & 1) << 4; }

void decode(const BlockQ5_0& block, float* y) {
  const float d = f16_to_f32(block.d);
  for (int i = 0; i < 16; ++i) {
    y[i] = d * static_cast<float>(((block.qs[i] & 15) | fifth_bit(block.qh, i)) - 16);
    y[i + 16] = d * static_cast<float>(((block.qs[i] >> 4) | fifth_bit(block.qh, i + 16)) - 16);
  }
}

void decode(const BlockQ5_1& block, float* y) {
  const float d = f16_to_f32(block.d), m = f16_to_f32(block.m);
  for (int i = 0; i < 16; ++i) {
    y[i] = d * static_cast<float>((block.qs[i] & 15) | fifth_bit(block.qh, i)) + m;
    y[i + 16] = d * static_cast<float>((block.qs[i] >> 4) | fifth_bit(block.qh, i + 16)) + m;
  }
}

void decode(const BlockQ8_0& block, float* y) {
  const float d = f16_to_f32(block.d);
  for (int i = 0; i < 32; ++i) y[i] = d * static_cast<float>(block.qs[i]);
}

// Q2_K and Q3_K: group g of 16 takes two bits of each of 16 bytes; 32 bytes hold 128 elements.
const uint8_t* two_bit_bytes(const uint8_t (&qs)[64], int g) {
  return qs + g / 8 * 32 + g % 2 * 16;
}
int two_bit_shift(int g) { return g % 8 / 2 * 2; }

void decode(const BlockQ2_K& block, float* y) {
  const float d = f16_to_f32(block.d), dmin = f16_to_f32(block.dmin);
  for (int g = 0; g < 16; ++g) {
    const float scale = d * static_cast<float>(block.scales[g] & 15);
    const float min = dmin * static_cast<float>(block.scales[g] >> 4);
    const uint8_t* qs = two_bit_bytes(block.qs, g);
    for (int i = 0; i < 16; ++i)
      y[g * 16 + i] = scale * static_cast<float>((qs[i] >> two_bit_shift(g)) & 3) - min;
  }
}

void decode(const BlockQ3_K& block, float* y) {
  const float d = f16_to_f32(block.d);
  const std::array<int8_t, 16> scales = unpack_signed_scales(block.scales);
  for (int g = 0; g < 16; ++g) {
    const float scale = d * static_cast<float>(scales[g]);
    const uint8_t* qs = two_bit_bytes(block.qs, g);
    const uint8_t* high = block.hmask + g % 2 * 16;
    for (int i = 0; i < 16; ++i) {
      const int q = ((qs[i] >> two_bit_shift(g)) & 3) | (((high[i] >> (g / 2)) & 1) << 2);
      y[g * 16 + i] = scale * static_cast<float>(q - 4);
    }
  }
}

void decode(const BlockQ4_K& block, float* y) {
  const float d = f16_to_f32(block.d), dmin = f16_to_f32(block.dmin);
  const KScales scales = unpack_scales(block.scales);
  for (int g = 0; g < 8; ++g) {
    const float scale = d * static_cast<float>(scales.scale[g]);
    const float min = dmin * static_cast<float>(scales.min[g]);
    const uint8_t* qs = block.qs + g / 2 * 32;
    for (int i = 0; i < 32; ++i)
      y[g * 32 + i] = scale * static_cast<float>((qs[i] >> (g % 2 * 4)) & 15) - min;
  }
}

void decode(const BlockQ5_K& block, float* y) {
  const float d = f16_to_f32(block.d), dmin = f16_to_f32(block.dmin);
  const KScales scales = unpack_scales(block.scales);
  for (int g = 0; g < 8; ++g) {
    const float scale = d * static_cast<float>(scales.scale[g]);
    const float min = dmin * static_cast<float>(scales.min[g]);
    const uint8_t* qs = block.qs + g / 2 * 32;
    for (int i = 0; i < 32; ++i) {
      const int q = ((qs[i] >> (g % 2 * 4)) & 15) | (((block.qh[i] >> g) & 1) << 4);
      y[g * 32 + i] = scale * static_cast<float>(q) - min;
    }
  }
}

// Half h holds 128 elements in four runs of 32: runs 0, 1 in the low nibbles of 64 bytes, 2, 3 in
// the high ones; two more bits of each of them in one of 32 bytes.
void decode(const BlockQ6_K& block, float* y) {
  const float d = f16_to_f32(block.d);
  for (int g = 0; g < 16; ++g) {
    const float scale = d * static_cast<float>(block.scales[g]);
    const int half = g / 8, run = g % 8 / 2, first = g % 2 * 16;
    const uint8_t* ql = block.ql + half * 64 + run % 2 * 32 + first;
    const uint8_t* qh = block.qh + half * 32 + first;
    for (int i = 0; i < 16; ++i) {
      const int q = ((ql[i] >> (run / 2 * 4)) & 15) | (((qh[i] >> (run * 2)) & 3) << 4);
      y[g * 16 + i] = scale * static_cast<float>(q - 32);
    }
  }
}

template <class Block>
void decode_all(DType dtype, const void* source, int64_t count, float* target) {
  const DTypeInfo& info = dtype_info(dtype);
  BRAYTON_CHECK_EQ(count % info.block_elements, 0);
  const auto* blocks = static_cast<const Block*>(source);
  for (int64_t i = 0; i < count / info.block_elements; ++i)
    decode(blocks[i], target + i * info.block_elements);
}

// Loads and stores through memcpy: tensors of a file may lie at any address.
template <class Bits, class Convert>
void load_all(const void* source, int64_t count, float* target, Convert convert) {
  const auto* bytes = static_cast<const std::byte*>(source);
  for (int64_t i = 0; i < count; ++i) {
    Bits bits;
    std::memcpy(&bits, bytes + i * sizeof(Bits), sizeof(Bits));
    target[i] = convert(bits);
  }
}

template <class Bits, class Convert>
void store_all(const float* source, int64_t count, void* target, Convert convert) {
  auto* bytes = static_cast<std::byte*>(target);
  for (int64_t i = 0; i < count; ++i) {
    const Bits bits = convert(source[i]);
    std::memcpy(bytes + i * sizeof(Bits), &bits, sizeof(Bits));
  }
}

// The scale is max |x| / 127, values round half away from zero, both before the scale is rounded to
// float16: ggml's reference quantiser, bit for bit. NaN becomes 0.
BlockQ8_0 encode_q8_0(const float* x) {
  float top = 0;
  for (int i = 0; i < 32; ++i) top = std::max(top, std::fabs(x[i]));
  const float d = top / 127.0f;
  const float inverse = d != 0 ? 1.0f / d : 0.0f;
  BlockQ8_0 block;
  block.d = f32_to_f16(d);
  for (int i = 0; i < 32; ++i) {
    const float q = std::round(x[i] * inverse);
    block.qs[i] = static_cast<int8_t>(std::isnan(q) ? 0 : std::clamp(q, -127.0f, 127.0f));
  }
  return block;
}

}  // namespace

void to_f32(DType dtype, const void* source, int64_t count, float* target) {
  switch (dtype) {
    case DType::kF64:
      return load_all<double>(source, count, target,
                              [](double value) { return static_cast<float>(value); });
    case DType::kF32:
      std::memcpy(target, source, static_cast<size_t>(count) * sizeof(float));
      return;
    case DType::kF16:
      return load_all<uint16_t>(source, count, target, f16_to_f32);
    case DType::kBF16:
      return load_all<uint16_t>(source, count, target, bf16_to_f32);
    case DType::kF8E4M3:
      return load_all<uint8_t>(source, count, target, f8e4m3_to_f32);
    case DType::kF8E5M2:
      return load_all<uint8_t>(source, count, target, f8e5m2_to_f32);
    case DType::kQ4_0:
      return decode_all<BlockQ4_0>(dtype, source, count, target);
    case DType::kQ4_1:
      return decode_all<BlockQ4_1>(dtype, source, count, target);
    case DType::kQ5_0:
      return decode_all<BlockQ5_0>(dtype, source, count, target);
    case DType::kQ5_1:
      return decode_all<BlockQ5_1>(dtype, source, count, target);
    case DType::kQ8_0:
      return decode_all<BlockQ8_0>(dtype, source, count, target);
    case DType::kQ2_K:
      return decode_all<BlockQ2_K>(dtype, source, count, target);
    case DType::kQ3_K:
      return decode_all<BlockQ3_K>(dtype, source, count, target);
    case DType::kQ4_K:
      return decode_all<BlockQ4_K>(dtype, source, count, target);
    case DType::kQ5_K:
      return decode_all<BlockQ5_K>(dtype, source, count, target);
    case DType::kQ6_K:
      return decode_all<BlockQ6_K>(dtype, source, count, target);
    default:
      throw_error(ErrorCode::kUnsupported, "[to_f32] dtype must be a float or block type, got {}",
                  dtype_name(dtype));
  }
}

void from_f32(DType dtype, const float* source, int64_t count, void* target) {
  switch (dtype) {
    case DType::kF32:
      std::memcpy(target, source, static_cast<size_t>(count) * sizeof(float));
      return;
    case DType::kF16:
      return store_all<uint16_t>(source, count, target, f32_to_f16);
    case DType::kBF16:
      return store_all<uint16_t>(source, count, target, f32_to_bf16);
    case DType::kQ8_0: {
      BRAYTON_CHECK_EQ(count % 32, 0);
      auto* blocks = static_cast<BlockQ8_0*>(target);
      for (int64_t i = 0; i < count / 32; ++i) blocks[i] = encode_q8_0(source + i * 32);
      return;
    }
    default:
      throw_error(ErrorCode::kUnsupported,
                  "[from_f32] dtype must be f32, f16, bf16 or q8_0, got {}", dtype_name(dtype));
  }
}

}  // namespace brayton
