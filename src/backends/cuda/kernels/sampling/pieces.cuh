// How rows of logits are read. A piece is 8 consecutive logits, held by a lane; a stretch is 32
// pieces, held by a warp. What a row's stretches and pieces are depends on the vocabulary only, so
// that sums over them do not depend on how many blocks share a row.
//
//   LOGIT    float, f16 or bf16
//   VOCAB    logits of a row
//   VECTORS  rows start at multiples of 16 bytes
#pragma once

#include "device/types.cuh"

using Logit = LOGIT;
constexpr int kVocab = VOCAB;
constexpr bool kVectors = VECTORS;

constexpr int kPiece = 8;
constexpr int kStretch = 32 * kPiece;
constexpr int kPieces = (kVocab + kPiece - 1) / kPiece;
constexpr int kStretches = (kVocab + kStretch - 1) / kStretch;

__device__ __forceinline__ float minus_infinity() { return __int_as_float(0xff800000); }
constexpr float kLargest = 3.402823466e38f;

// Unsigned integers in the order of the floats; NaN excepted.
__device__ __forceinline__ uint32_t ordered_key(float x) {
  const uint32_t bits = __float_as_uint(x == 0.0f ? 0.0f : x);
  return (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
}
__device__ __forceinline__ float from_ordered_key(uint32_t key) {
  return __uint_as_float((key >> 31) != 0 ? key & 0x7fffffffu : ~key);
}

// As stored. Beyond the row's end there is -infinity.
struct RawPiece {
  static constexpr int kParts = kPiece * sizeof(Logit) / 16;
  Vector16<Logit> parts[kParts];

  __device__ __forceinline__ void load(const Logit* row, int piece) {
    const int first = piece * kPiece;
    if (kVectors && first + kPiece <= kVocab) {
#pragma unroll
      for (int i = 0; i < kParts; ++i)
        parts[i].load_stream(row + first + i * Vector16<Logit>::kElements);
    } else {
#pragma unroll
      for (int i = 0; i < kParts; ++i)
        parts[i].raw = make_uint4(word(row, first, 4 * i), word(row, first, 4 * i + 1),
                                  word(row, first, 4 * i + 2), word(row, first, 4 * i + 3));
    }
  }

  __device__ __forceinline__ void to_floats(float (&x)[kPiece]) const {
    constexpr int kPart = Vector16<Logit>::kElements;
#pragma unroll
    for (int i = 0; i < kParts; ++i) {
      float values[kPart];
      parts[i].to_floats(values);
#pragma unroll
      for (int k = 0; k < kPart; ++k) x[i * kPart + k] = values[k];
    }
  }

 private:
  static __device__ __forceinline__ uint32_t bits_of(float x) { return __float_as_uint(x); }
  static __device__ __forceinline__ uint32_t bits_of(bf16 x) { return x.bits; }
  static __device__ __forceinline__ uint32_t bits_of(f16 x) { return x.bits; }
  static __device__ __forceinline__ uint32_t element(const Logit* row, int i) {
    return bits_of(i < kVocab ? row[i] : from_float<Logit>(minus_infinity()));
  }
  static __device__ __forceinline__ uint32_t word(const Logit* row, int first, int i) {
    if constexpr (sizeof(Logit) == 4)
      return element(row, first + i);
    else
      return element(row, first + 2 * i) | element(row, first + 2 * i + 1) << 16;
  }
};
