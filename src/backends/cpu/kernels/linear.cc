// linear: chooses the kernel of the packed form. What bounds it: for few tokens the memory that
// the weights are read from, for many the multiply-add units; see linear_q8.cc and linear_f32.cc.
#include "backends/cpu/kernels/linear.h"

#include "backends/cpu/kernels/kernels.h"
#include "backends/cpu/kernels/simd.h"
#include "backends/cpu/packed_linear.h"

namespace brayton::cpu::BRAYTON_CPU_LEVEL {

namespace {

// A thread reads about so many bytes of weights a nanosecond, and multiplies so many pairs.
constexpr int64_t kBytesPerNs = 20;
constexpr int64_t kPairsPerNs = kVectorBytes == 64 ? 100 : kVectorBytes == 32 ? 30 : 10;
constexpr int64_t kPieceNs = 10000;      // what a piece should take
constexpr int64_t kPiecesPerThread = 4;  // but rather shorter ones than an uneven end
constexpr int64_t kLeastPieceNs = 1000;

int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t max_of(int64_t a, int64_t b) { return a > b ? a : b; }

}  // namespace

LinearPieces cut_linear(const LinearWork& work, int64_t group_bytes, int threads,
                        int64_t token_chunk) {
  LinearPieces pieces{};
  pieces.groups = (work.n + kLanes - 1) / kLanes;
  pieces.token_chunk = min_of(token_chunk, work.tokens);
  pieces.token_chunks = (work.tokens + pieces.token_chunk - 1) / pieces.token_chunk;
  const int64_t group_ns =
      max_of(group_bytes / kBytesPerNs, kLanes * work.k * pieces.token_chunk / kPairsPerNs) + 1;
  const int64_t total_ns = group_ns * pieces.groups * pieces.token_chunks;
  const int64_t piece_ns =
      max_of(kLeastPieceNs, min_of(kPieceNs, total_ns / (threads * kPiecesPerThread)));
  pieces.group_chunk = max_of(1, min_of(pieces.groups, piece_ns / group_ns));
  pieces.group_chunks = (pieces.groups + pieces.group_chunk - 1) / pieces.group_chunk;
  return pieces;
}

LinearPiece linear_piece(const LinearWork& work, const LinearPieces& pieces, int64_t piece) {
  const int64_t group = piece % pieces.group_chunks * pieces.group_chunk;
  const int64_t token = piece / pieces.group_chunks * pieces.token_chunk;
  return {group, min_of(pieces.groups, group + pieces.group_chunk), token,
          min_of(work.tokens, token + pieces.token_chunk)};
}

void linear(Stream& stream, const LinearArgs& args) {
  if (!args.packed) return reference(args);
  check(args);
  const PackedLinear& packed = packed_linear(args);
  const LinearWork work = {
      .w = static_cast<const uint8_t*>(packed.data),
      .x = static_cast<const float*>(args.x.data),
      .bias = static_cast<const float*>(args.bias.data),
      .y = static_cast<float*>(args.y.data),
      .n = packed.n,
      .k = packed.k,
      .tokens = args.x.shape[0],
      .x_stride = args.x.strides[0],
      .y_stride = args.y.strides[0],
  };
  if (work.tokens == 0 || work.n == 0) return;
  CpuStream& cpu = cpu_stream(stream);
  if (linear_layout(packed.form).plain()) return linear_f32(cpu, packed.form, work);
  linear_q8(cpu, packed.form, work);
}

}  // namespace brayton::cpu::BRAYTON_CPU_LEVEL
