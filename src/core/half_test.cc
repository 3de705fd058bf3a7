// Half-precision conversions are exact where they can be and round to nearest even where not.
#include "core/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

namespace brayton {
namespace {

// A small float format by its definition: `mantissa` stored bits, least exponent `min_exponent`.
struct Format {
  int mantissa;
  int min_exponent;
  double max;  // the largest finite value
  std::function<float(uint16_t)> decode;
  std::function<uint16_t(float)> encode;
};

const Format kF16{10, -14, 65504.0, f16_to_f32, f32_to_f16};
const Format kBF16{7, -126, std::ldexp(255.0, 120), bf16_to_f32, f32_to_bf16};

double decode_by_definition(const Format& format, uint16_t bits) {
  const int exponent = (bits & 0x7fff) >> format.mantissa;
  const int fraction = bits & ((1 << format.mantissa) - 1);
  const int implicit = exponent > 0 ? 1 << format.mantissa : 0;
  const int scale = std::max(exponent, 1) - 1 + format.min_exponent - format.mantissa;
  return (bits & 0x8000 ? -1 : 1) * std::ldexp(implicit + fraction, scale);
}

// Rounds in double precision, where every float and every midpoint is exact.
double round_by_definition(const Format& format, double value) {
  if (value == 0) return value;
  const int exponent = std::max(std::ilogb(value), format.min_exponent);
  const double quantum = std::ldexp(1.0, exponent - format.mantissa);
  const double rounded = std::nearbyint(value / quantum) * quantum;
  return std::abs(rounded) > format.max
             ? std::copysign(std::numeric_limits<double>::infinity(), value)
             : rounded;
}

void check_every_value(const Format& format) {
  const int infinity = 0x7fff >> format.mantissa << format.mantissa;
  for (int bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = format.decode(half);
    const int magnitude = bits & 0x7fff;
    if (magnitude > infinity) {
      ASSERT_TRUE(std::isnan(value)) << bits;
      ASSERT_TRUE(std::isnan(format.decode(format.encode(value)))) << bits;
      continue;
    }
    if (magnitude == infinity) {
      ASSERT_TRUE(std::isinf(value)) << bits;
    } else {
      ASSERT_EQ(value, decode_by_definition(format, half)) << bits;
    }
    ASSERT_EQ(std::signbit(value), bits >= 0x8000) << bits;
    ASSERT_EQ(format.encode(value), half) << bits;
  }
}

// The midpoint above each finite value and the floats beside it decide every rounding.
void check_every_midpoint(const Format& format) {
  const int infinity = 0x7fff >> format.mantissa << format.mantissa;
  for (int bits = 0; bits < infinity; ++bits) {
    const double low = decode_by_definition(format, static_cast<uint16_t>(bits));
    const double high = decode_by_definition(format, static_cast<uint16_t>(bits + 1));
    const auto middle = static_cast<float>((low + high) / 2);
    for (float value : {std::nextafter(middle, 0.0f), middle,
                        std::nextafter(middle, std::numeric_limits<float>::infinity())}) {
      for (float signed_value : {value, -value}) {
        const float got = format.decode(format.encode(signed_value));
        ASSERT_EQ(got, round_by_definition(format, signed_value)) << signed_value << " " << bits;
      }
    }
  }
}

TEST(HalfTest, EveryF16RoundTrips) { check_every_value(kF16); }
TEST(HalfTest, EveryBF16RoundTrips) { check_every_value(kBF16); }
TEST(HalfTest, F16RoundsToNearestEven) { check_every_midpoint(kF16); }
TEST(HalfTest, BF16RoundsToNearestEven) { check_every_midpoint(kBF16); }

TEST(HalfTest, OverflowIsInfinityAndUnderflowIsSignedZero) {
  EXPECT_EQ(f32_to_f16(65504.0f), 0x7bff);
  EXPECT_EQ(f32_to_f16(65519.996f), 0x7bff);
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7c00);
  EXPECT_EQ(f32_to_f16(-1e30f), 0xfc00);
  EXPECT_EQ(f32_to_f16(std::numeric_limits<float>::infinity()), 0x7c00);
  EXPECT_EQ(f32_to_f16(0x1p-24f), 0x0001);
  EXPECT_EQ(f32_to_f16(0x1p-25f), 0x0000);
  EXPECT_EQ(f32_to_f16(-0x1.000002p-25f), 0x8001);
  EXPECT_EQ(f32_to_f16(-std::numeric_limits<float>::denorm_min()), 0x8000);
  EXPECT_EQ(f32_to_bf16(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_EQ(f32_to_bf16(std::numeric_limits<float>::denorm_min()), 0x0000);
}

TEST(HalfTest, NanKeepsItsSignAndStaysNan) {
  // A payload in the low bits only must not become infinity.
  for (uint32_t bits : {0x7f800001u, 0x7fc00000u, 0xff800001u, 0xffffffffu}) {
    const float nan = std::bit_cast<float>(bits);
    for (uint16_t half : {f32_to_f16(nan), f32_to_bf16(nan)}) {
      EXPECT_EQ(half >> 15, bits >> 31);
      EXPECT_NE(half & 0x007f, half & 0x7fff) << std::hex << half;
    }
    EXPECT_TRUE(std::isnan(f16_to_f32(f32_to_f16(nan))));
    EXPECT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(nan))));
  }
}

// OCP 8-bit floating point specification, table 2.
TEST(HalfTest, Float8ValuesOfTheSpecification) {
  EXPECT_EQ(f8e4m3_to_f32(0x00), 0.0f);
  EXPECT_EQ(f8e4m3_to_f32(0x01), 0x1p-9f);
  EXPECT_EQ(f8e4m3_to_f32(0x07), 0.875f * 0x1p-6f);
  EXPECT_EQ(f8e4m3_to_f32(0x08), 0x1p-6f);
  EXPECT_EQ(f8e4m3_to_f32(0x38), 1.0f);
  EXPECT_EQ(f8e4m3_to_f32(0x7e), 448.0f);
  EXPECT_EQ(f8e4m3_to_f32(0xfe), -448.0f);
  EXPECT_TRUE(std::isnan(f8e4m3_to_f32(0x7f)));
  EXPECT_TRUE(std::isnan(f8e4m3_to_f32(0xff)));
  EXPECT_EQ(f8e5m2_to_f32(0x01), 0x1p-16f);
  EXPECT_EQ(f8e5m2_to_f32(0x3c), 1.0f);
  EXPECT_EQ(f8e5m2_to_f32(0x7b), 57344.0f);
  EXPECT_TRUE(std::isinf(f8e5m2_to_f32(0x7c)));
  EXPECT_TRUE(std::isnan(f8e5m2_to_f32(0x7d)));
}

}  // namespace
}  // namespace brayton
