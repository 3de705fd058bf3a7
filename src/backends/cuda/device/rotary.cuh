// Rotary positions, as ops/rope.h has them, for kernels that turn heads: cosines and sines, and how
// a head is cut into units of up to two vectors, one unit for a thread.
#pragma once

#include "device/types.cuh"

// (cos, sin) of position * inv_freq, times scale. The angle is rounded to float32, as ops/rope.h
// says; reduced in float64, so that the result is within some 2e-7 for any position.
__device__ __forceinline__ float2 rotary_turn(int position, float inv_freq, float scale) {
  const double half_turns = double(__fmul_rn(float(position), inv_freq)) * 0.31830988618379067;
  const double rest = half_turns - 2.0 * rint(0.5 * half_turns);
  float sine, cosine;
  sincospif(float(rest), &sine, &cosine);
  return make_float2(cosine * scale, sine * scale);
}

// Up to kCount elements in registers, from an address that suits accesses of kAccess elements, of
// 16 bytes at most.
template <class T, int kCount, int kAccess>
struct Elements {
  static constexpr int kBytes = kAccess * sizeof(T);
  static_assert(kCount % kAccess == 0 && kBytes <= 16);
  uint32_t words[(kCount * sizeof(T) + 3) / 4];

  // The first kUsed of them.
  template <int kUsed = kCount>
  __device__ __forceinline__ void load(const T* from) {
#pragma unroll
    for (int i = 0; i < kUsed / kAccess; ++i) {
      if constexpr (kBytes == 16) {
        const uint4 part = reinterpret_cast<const uint4*>(from)[i];
        words[4 * i] = part.x;
        words[4 * i + 1] = part.y;
        words[4 * i + 2] = part.z;
        words[4 * i + 3] = part.w;
      } else if constexpr (kBytes == 8) {
        const uint2 part = reinterpret_cast<const uint2*>(from)[i];
        words[2 * i] = part.x;
        words[2 * i + 1] = part.y;
      } else if constexpr (kBytes == 4) {
        words[i] = reinterpret_cast<const uint32_t*>(from)[i];
      } else {
        const uint32_t part = reinterpret_cast<const uint16_t*>(from)[i];
        words[i / 2] = i % 2 == 0 ? part : words[i / 2] | part << 16;
      }
    }
  }
  template <int kUsed = kCount>
  __device__ __forceinline__ void store(T* to) const {
#pragma unroll
    for (int i = 0; i < kUsed / kAccess; ++i) {
      // Plain stores of a uint4 end up as four of a word in some branches.
      if constexpr (kBytes == 16)
        asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(to + i * kAccess),
                     "r"(words[4 * i]), "r"(words[4 * i + 1]), "r"(words[4 * i + 2]),
                     "r"(words[4 * i + 3])
                     : "memory");
      else if constexpr (kBytes == 8)
        asm volatile("st.global.v2.u32 [%0], {%1, %2};" ::"l"(to + i * kAccess), "r"(words[2 * i]),
                     "r"(words[2 * i + 1])
                     : "memory");
      else if constexpr (kBytes == 4)
        reinterpret_cast<uint32_t*>(to)[i] = words[i];
      else
        reinterpret_cast<uint16_t*>(to)[i] = words[i / 2] >> 16 * (i % 2);
    }
  }
  __device__ __forceinline__ void to_floats(float (&out)[kCount]) const {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      if constexpr (sizeof(T) == 4) {
        out[i] = __uint_as_float(words[i]);
      } else {
        const float2 pair = unpack2<T>(words[i / 2]);
        out[i] = i % 2 == 0 ? pair.x : pair.y;
      }
    }
  }
  __device__ __forceinline__ void from_floats(const float (&in)[kCount]) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      if constexpr (sizeof(T) == 4)
        words[i] = __float_as_uint(in[i]);
      else if (i % 2 == 0)
        words[i / 2] = pack2<T>(in[i], i + 1 < kCount ? in[i + 1 < kCount ? i + 1 : i] : 0.0f);
    }
  }
};

template <class T, class U, int kCount, int kAccess>
__device__ __forceinline__ void convert(const Elements<T, kCount, kAccess>& from,
                                        Elements<U, kCount, kAccess>& to) {
  float values[kCount];
  from.to_floats(values);
  to.from_floats(values);
}
template <class T, int kCount, int kAccess>
__device__ __forceinline__ void convert(const Elements<T, kCount, kAccess>& from,
                                        Elements<T, kCount, kAccess>& to) {
  to = from;
}

// What is done to `kUsed` elements of a head, from element `at` on, before they turn.
struct NoNorm {
  static constexpr bool kScales = false;
  template <int kUsed, int kCount>
  __device__ __forceinline__ void apply(float (&)[kCount], int) const {}
};
struct HeadNorm {
  static constexpr bool kScales = true;
  float factor;
  const float* w;  // of the head's elements, 16-byte aligned

  template <int kUsed, int kCount>
  __device__ __forceinline__ void apply(float (&x)[kCount], int at) const {
    if constexpr (kUsed % 4 == 0) {
#pragma unroll
      for (int i = 0; i < kUsed; i += 4) {
        const float4 part = *reinterpret_cast<const float4*>(w + at + i);
        x[i] *= factor * part.x;
        x[i + 1] *= factor * part.y;
        x[i + 2] *= factor * part.z;
        x[i + 3] *= factor * part.w;
      }
    } else {
#pragma unroll
      for (int i = 0; i < kUsed; ++i) x[i] *= factor * w[at + i];
    }
  }
};

// How the elements of a head are shared out. The first 2 kPairs turn; the rest passes through.
// A run of vectors is halved, and unit u has the vectors u of both halves: for the pairs (p, p + P)
// those are what turns together. kAccess divides the head's size, its offsets and kPairs (when
// interleaved: 2 kPairs).
template <class T, int kHeadDim, int kPairs, bool kInterleaved, int kAccess>
struct RotaryHead {
  // Interleaved pairs must not be torn apart.
  static constexpr int kVector = kInterleaved && kAccess < 2 ? 2 : kAccess;
  using Vector = Elements<T, kVector, kAccess>;

  static constexpr int units(int vectors) { return (vectors + 1) / 2; }
  static constexpr int kTurnVectors = 2 * kPairs / kVector;
  static constexpr int kTurnUnits = units(kTurnVectors);
  static constexpr int kRestVectors = (kHeadDim - 2 * kPairs) / kAccess;
  static constexpr int kRestUnits = units(kRestVectors);
  static constexpr int kAllVectors = kHeadDim / kAccess;  // of a head where nothing turns
  static constexpr int kAllUnits = units(kAllVectors);

  // Pairs of one vector lie apart in the table, those that neighbouring threads read at a time lie
  // side by side.
  static constexpr int kVectorPairs = kInterleaved ? kVector / 2 : kVector;
  static constexpr int kTableRow = kPairs / kVectorPairs;
  static_assert(kPairs % kVectorPairs == 0);
  static __device__ __forceinline__ int table_slot(int p) {
    return p % kVectorPairs * kTableRow + p / kVectorPairs;
  }

  // What a thread holds: two vectors and where they lie in the head; the second may be missing.
  struct Unit {
    Vector first, second;
    int at, second_at;
    bool turns, has_second;

    // Unit `u` of those that turn, or of a run of `vectors` that pass through, from `begin` on.
    __device__ __forceinline__ void place(int u, bool turning, int vectors, int begin) {
      turns = turning;
      const int width = turning ? kVector : kAccess;
      const int second_vector = u + units(turning ? kTurnVectors : vectors);
      at = (turning ? 0 : begin) + u * width;
      second_at = (turning ? 0 : begin) + second_vector * width;
      has_second = second_vector < (turning ? kTurnVectors : vectors);
    }
    // Unit `u` of a head that turns, the passing ones behind the turning ones.
    __device__ __forceinline__ void place(int u) {
      const bool turning = u < kTurnUnits;
      place(turning ? u : u - kTurnUnits, turning, kRestVectors, 2 * kPairs);
    }
    __device__ __forceinline__ void load(const T* head) {
      if (kVector == kAccess || turns) {
        first.load(head + at);
        if (has_second) second.load(head + second_at);
      } else {
        first.template load<kAccess>(head + at);
        if (has_second) second.template load<kAccess>(head + second_at);
      }
    }
    // The sum of the elements' squares.
    __device__ __forceinline__ float squares() const {
      float sum = 0.0f;
      const auto add = [&](const Vector& v) {
        float x[kVector];
        v.to_floats(x);
#pragma unroll
        for (int i = 0; i < kVector; ++i)
          if (i < kAccess || turns) sum = fmaf(x[i], x[i], sum);
      };
      add(first);
      if (has_second) add(second);
      return sum;
    }
    // `table` has the cosine and sine of pair p at table_slot(p).
    template <class Norm = NoNorm>
    __device__ __forceinline__ void turn(const float2* table, const Norm& norm = {}) {
      if (!turns) {
        if constexpr (Norm::kScales) {
          pass(first, at, norm);
          if (has_second) pass(second, second_at, norm);
        }
        return;
      }
      if constexpr (kInterleaved) {
        turn_inside(first, table + at / kVector, at, norm);
        if (has_second) turn_inside(second, table + second_at / kVector, second_at, norm);
      } else {
        float a[kVector], b[kVector];
        first.to_floats(a);
        second.to_floats(b);
        norm.template apply<kVector>(a, at);
        norm.template apply<kVector>(b, second_at);
#pragma unroll
        for (int i = 0; i < kVector; ++i) {
          const float2 t = table[i * kTableRow + at / kVector];
          const float x = a[i] * t.x - b[i] * t.y;
          b[i] = a[i] * t.y + b[i] * t.x;
          a[i] = x;
        }
        first.from_floats(a);
        second.from_floats(b);
      }
    }
    // Rounded to T before it is rounded to U.
    template <class U>
    __device__ __forceinline__ void store(U* head) const {
      Elements<U, kVector, kAccess> a, b;
      convert(first, a);
      convert(second, b);
      if (kVector == kAccess || turns) {
        a.store(head + at);
        if (has_second) b.store(head + second_at);
      } else {
        a.template store<kAccess>(head + at);
        if (has_second) b.template store<kAccess>(head + second_at);
      }
    }

   private:
    template <class Norm>
    __device__ __forceinline__ static void pass(Vector& v, int at, const Norm& norm) {
      float x[kVector];
      v.to_floats(x);
      norm.template apply<kAccess>(x, at);
      v.from_floats(x);
    }
    template <class Norm>
    __device__ __forceinline__ static void turn_inside(Vector& v, const float2* table, int at,
                                                       const Norm& norm) {
      float x[kVector];
      v.to_floats(x);
      norm.template apply<kVector>(x, at);
#pragma unroll
      for (int i = 0; i < kVector / 2; ++i) {
        const float2 t = table[i * kTableRow];
        const float a = x[2 * i];
        const float b = x[2 * i + 1];
        x[2 * i] = a * t.x - b * t.y;
        x[2 * i + 1] = a * t.y + b * t.x;
      }
      v.from_floats(x);
    }
  };
};
