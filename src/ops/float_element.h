// Elements of f32, f16 and bf16 tensors as float32: how references read and write activations.
#pragma once

#include "brayton/tensor_view.h"
#include "core/half.h"

namespace brayton {

// `index` counts elements from `data`. Other types read as 0: check(args) has refused them.
inline float load_float(DType dtype, const void* data, int64_t index) {
  switch (dtype) {
    case DType::kF32:
      return static_cast<const float*>(data)[index];
    case DType::kF16:
      return f16_to_f32(static_cast<const uint16_t*>(data)[index]);
    case DType::kBF16:
      return bf16_to_f32(static_cast<const uint16_t*>(data)[index]);
    default:
      return 0.0f;
  }
}

inline void store_float(DType dtype, void* data, int64_t index, float value) {
  switch (dtype) {
    case DType::kF32:
      static_cast<float*>(data)[index] = value;
      break;
    case DType::kF16:
      static_cast<uint16_t*>(data)[index] = f32_to_f16(value);
      break;
    case DType::kBF16:
      static_cast<uint16_t*>(data)[index] = f32_to_bf16(value);
      break;
    default:
      break;
  }
}

// Element [i, j] or [i, j, k]; strides are respected.
inline float load_float(const TensorView& t, int64_t i, int64_t j, int64_t k = 0) {
  return load_float(t.dtype, t.data, i * t.strides[0] + j * t.strides[1] + k * t.strides[2]);
}
inline void store_float(const TensorView& t, int64_t i, int64_t j, float value) {
  store_float(t.dtype, t.data, i * t.strides[0] + j * t.strides[1], value);
}
inline void store_float(const TensorView& t, int64_t i, int64_t j, int64_t k, float value) {
  store_float(t.dtype, t.data, i * t.strides[0] + j * t.strides[1] + k * t.strides[2], value);
}

}  // namespace brayton
