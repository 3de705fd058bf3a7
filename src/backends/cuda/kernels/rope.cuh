// rope: a block turns the heads of a few tokens, or a slice of one token's; cosines and sines are
// computed once for all of them. A thread holds its units of up to two vectors in registers while
// that happens. Float32. Bound by memory, and by latency for few tokens.
//
//   ELEMENT                          float, f16 or bf16: of x and y
//   HEADS, HEAD_DIM, PAIRS           shapes; INTERLEAVED: pairs are (2p, 2p + 1)
//   IN_PLACE                         y is x: what does not turn stays where it is
//   ACCESS                           elements of a memory access
//   THREADS, TOKENS, UNITS           of a block, of a block, of a thread
#include "device/dependency.cuh"
#include "device/rotary.cuh"

using Element = ELEMENT;
constexpr int kHeads = HEADS;
constexpr int kHeadDim = HEAD_DIM;
constexpr int kPairs = PAIRS;
constexpr bool kInterleaved = INTERLEAVED;
constexpr bool kInPlace = IN_PLACE;
constexpr int kAccess = ACCESS;
constexpr int kThreads = THREADS;
constexpr int kTokens = TOKENS;
constexpr int kUnits = UNITS;

using Head = RotaryHead<Element, kHeadDim, kPairs, kInterleaved, kAccess>;
constexpr int kHeadUnits = Head::kTurnUnits + (kInPlace ? 0 : Head::kRestUnits);
constexpr int kTokenUnits = kHeads * kHeadUnits;

extern "C" __global__ void __launch_bounds__(kThreads, 8)
    rope(const Element* x, int64_t x_stride, Element* y, int64_t y_stride, const int* positions,
         const float* inv_freq, int tokens, float scale) {
  __shared__ float2 table[kTokens][kPairs > 0 ? kPairs : 1];
  launch_dependents();
  wait_for_dependency();
  const int first_token = blockIdx.x * kTokens;
  const int first_unit = blockIdx.y * (kThreads * kUnits) + threadIdx.x;

  typename Head::Unit units[kUnits];
  const auto for_units = [&](const auto& visit) {
#pragma unroll
    for (int i = 0; i < kUnits; ++i) {
      const int n = first_unit + i * kThreads;
      const int token = n / kTokenUnits;
      const int head = n % kTokenUnits / kHeadUnits;
      if (token < kTokens && first_token + token < tokens)
        visit(units[i], token, head, n % kHeadUnits);
    }
  };
  for_units([&](auto& unit, int token, int head, int u) {
    unit.place(u);
    unit.load(x + (first_token + token) * x_stride + head * kHeadDim);
  });
  if constexpr (kPairs > 0) {
    for (int i = threadIdx.x; i < kTokens * kPairs; i += kThreads) {
      const int token = i / kPairs;
      const int p = i % kPairs;
      if (first_token + token < tokens)
        table[token][Head::table_slot(p)] =
            rotary_turn(positions[first_token + token], inv_freq[p], scale);
    }
  }
  __syncthreads();
  for_units([&](auto& unit, int token, int head, int) {
    unit.turn(table[token]);
    unit.store(y + (first_token + token) * y_stride + head * kHeadDim);
  });
}
