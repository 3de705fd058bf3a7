// rms_norm and layer_norm: one row after another, its sums in kLanes partial sums of float32.
// Bound by the cache that x and y lie in: rows are read twice (rms_norm) or three times, the later
// times from the first-level cache. A row's result does not depend on the other rows.
#include "backends/cpu/kernels/kernels.h"
#include "backends/cpu/kernels/rows.h"

namespace brayton::cpu::BRAYTON_CPU_LEVEL {
namespace {

// The memory of one token.
struct Row {
  const float* x;
  const float* residual;  // or null
  const float* w;
  const float* b;  // or null
  float* sum;      // or null
  float* y;
  int64_t width;
};

template <class Args>
BRAYTON_INLINE Row row_of(const Args& args, const float* b, int64_t t) {
  return {.x = args.x.template as<float>() + t * args.x.strides[0],
          .residual = args.residual
                          ? args.residual.template as<float>() + t * args.residual.strides[0]
                          : nullptr,
          .w = args.w.template as<float>(),
          .b = b,
          .sum = args.sum ? args.sum.template as<float>() + t * args.sum.strides[0] : nullptr,
          .y = args.y.template as<float>() + t * args.y.strides[0],
          .width = args.x.dim(1)};
}

// Calls visit(i, n) for vectors of n lanes that cover [0, width).
template <class Visit>
BRAYTON_INLINE void for_vectors(int64_t width, const Visit& visit) {
  int64_t i = 0;
  for (; i + kLanes <= width; i += kLanes) visit(i, int64_t{kLanes});
  if (i < width) visit(i, width - i);
}

BRAYTON_INLINE F32 load_lanes(const float* p, int64_t n) {
  return n == kLanes ? load(p) : load_first(p, n);
}
BRAYTON_INLINE void store_lanes(float* p, F32 v, int64_t n) {
  if (n == kLanes)
    store(p, v);
  else
    store_first(p, v, n);
}

// x + residual at [i, i + n), lanes beyond n zero.
BRAYTON_INLINE F32 summand(const Row& row, int64_t i, int64_t n) {
  const F32 x = load_lanes(row.x + i, n);
  return row.residual != nullptr ? x + load_lanes(row.residual + i, n) : x;
}

// As summand, but from where the sum has been stored: x or residual may be gone by then.
BRAYTON_INLINE F32 stored_summand(const Row& row, int64_t i, int64_t n) {
  return row.sum != nullptr ? load_lanes(row.sum + i, n) : summand(row, i, n);
}

void rms_norm_row(const Row& row, float eps) {
  F32 squares{};
  for_vectors(row.width, [&](int64_t i, int64_t n) {
    const F32 s = summand(row, i, n);
    if (row.sum != nullptr) store_lanes(row.sum + i, s, n);
    squares = fma(s, s, squares);
  });
  const float mean = sum(squares) / static_cast<float>(row.width);
  const F32 scale = splat(1.0f / __builtin_sqrtf(mean + eps));
  for_vectors(row.width, [&](int64_t i, int64_t n) {
    store_lanes(row.y + i, stored_summand(row, i, n) * scale * load_lanes(row.w + i, n), n);
  });
}

void layer_norm_row(const Row& row, float eps) {
  F32 total{};
  for_vectors(row.width, [&](int64_t i, int64_t n) {
    const F32 s = summand(row, i, n);
    if (row.sum != nullptr) store_lanes(row.sum + i, s, n);
    total += s;
  });
  const F32 mean = splat(sum(total) / static_cast<float>(row.width));
  F32 squares{};
  for_vectors(row.width, [&](int64_t i, int64_t n) {
    F32 distance = stored_summand(row, i, n) - mean;
    if (n < kLanes) distance = keep_first(distance, n);
    squares = fma(distance, distance, squares);
  });
  const float variance = sum(squares) / static_cast<float>(row.width);
  const F32 scale = splat(1.0f / __builtin_sqrtf(variance + eps));
  for_vectors(row.width, [&](int64_t i, int64_t n) {
    const F32 normal = (stored_summand(row, i, n) - mean) * scale;
    const F32 b = row.b != nullptr ? load_lanes(row.b + i, n) : F32{};
    store_lanes(row.y + i, fma(normal, load_lanes(row.w + i, n), b), n);
  });
}

}  // namespace

void rms_norm(Stream& stream, const RmsNormArgs& args) {
  check(args);
  for_rows(stream, args.x.dim(0), 4 * args.x.dim(1), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) rms_norm_row(row_of(args, nullptr, t), args.eps);
  });
}

void layer_norm(Stream& stream, const LayerNormArgs& args) {
  check(args);
  const float* b = args.b ? args.b.as<float>() : nullptr;
  for_rows(stream, args.x.dim(0), 6 * args.x.dim(1), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) layer_norm_row(row_of(args, b, t), args.eps);
  });
}

}  // namespace brayton::cpu::BRAYTON_CPU_LEVEL
