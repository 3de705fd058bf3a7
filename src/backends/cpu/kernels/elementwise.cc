// add, mul and scale: bound by memory.
#include "backends/cpu/kernels/kernels.h"
#include "backends/cpu/kernels/rows.h"

namespace brayton::cpu::BRAYTON_CPU_LEVEL {
namespace {

template <BinaryKind kind>
BRAYTON_INLINE F32 combine(F32 a, F32 b) {
  return kind == BinaryKind::kAdd ? a + b : a * b;
}

template <BinaryKind kind>
void combine_row(const float* a, const float* b, float* y, int64_t width) {
  int64_t i = 0;
  for (; i + kLanes <= width; i += kLanes) store(y + i, combine<kind>(load(a + i), load(b + i)));
  const int64_t rest = width - i;
  if (rest > 0)
    store_first(y + i, combine<kind>(load_first(a + i, rest), load_first(b + i, rest)), rest);
}

}  // namespace

void binary(Stream& stream, const BinaryArgs& args) {
  check(args);
  const int64_t width = args.y.dim(1);
  const int64_t b_stride = args.b.rank() == 1 ? 0 : args.b.strides[0];
  const auto row =
      args.kind == BinaryKind::kAdd ? combine_row<BinaryKind::kAdd> : combine_row<BinaryKind::kMul>;
  for_rows(stream, args.y.dim(0), 2 * width, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      row(args.a.as<float>() + t * args.a.strides[0], args.b.as<float>() + t * b_stride,
          args.y.as<float>() + t * args.y.strides[0], width);
  });
}

void scale(Stream& stream, const ScaleArgs& args) {
  check(args);
  const int64_t width = args.y.dim(1);
  for_rows(stream, args.y.dim(0), 2 * width, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float* a = args.a.as<float>() + t * args.a.strides[0];
      float* y = args.y.as<float>() + t * args.y.strides[0];
      int64_t i = 0;
      for (; i + kLanes <= width; i += kLanes) store(y + i, load(a + i) * args.factor);
      if (i < width) store_first(y + i, load_first(a + i, width - i) * args.factor, width - i);
    }
  });
}

}  // namespace brayton::cpu::BRAYTON_CPU_LEVEL
