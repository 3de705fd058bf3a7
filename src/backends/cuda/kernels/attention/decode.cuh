// attention_decode on tensor cores: one query token per sequence over the paged cache, bf16 or f16.
//
// Work. A unit is a sequence and a kv head (or up to HEADS query heads of its group), its visible
// keys are cut into chunks of WARPS * TILE. All units' chunks form one list, which is shared out
// evenly to the blocks: each finds its share from kv_lengths, on the device, so that a captured
// launch works for any lengths. A warp takes a tile of TILE keys of each chunk and keeps a running
// softmax of its own; warps are joined at the end of a unit. A unit that lies in several shares
// leaves partial results in float32, and the last block to arrive joins them, in order: results
// depend on the lengths only.
//
// A warp's step: scores^T[keys, heads] = K q^T, then y^T[dims, heads] += V^T p^T, so that the up to
// 8 heads of a group fill the narrow side of m16n8k16. Keys and values come through a ring of
// STAGES tiles that belongs to the warp alone (cp.async, no barriers); a place is filled again as
// soon as it was read, across units. Slots that the sequence does not see are filled with zeros,
// not read: they may hold NaN.
//
// Sums in float32, probabilities rounded to ELEMENT. Bound by memory: some 100 KB are under way per
// multiprocessor, tensor cores and shared memory are busy for a tenth of the time.
//
// decode_plan.cuh has the constants it is compiled for and the sharing out, decode_tiles.cuh what a
// warp does, this file how results are joined.
#include "device/dependency.cuh"
#include "kernels/attention/decode_tiles.cuh"

// Four dimensions of a head, over some of the keys.
struct Part {
  float top = kLowest;
  float total = 0.0f;
  float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);

  __device__ __forceinline__ void decay_to(float new_top) {
    const float decay = exp2_fast(top - new_top);
    total *= decay;
    sum.x *= decay;
    sum.y *= decay;
    sum.z *= decay;
    sum.w *= decay;
    top = new_top;
  }
  // `other` has no larger top.
  __device__ __forceinline__ void add(float2 other, float4 other_sum) {
    const float weight = exp2_fast(other.x - top);
    total = fmaf(weight, other.y, total);
    sum.x = fmaf(weight, other_sum.x, sum.x);
    sum.y = fmaf(weight, other_sum.y, sum.y);
    sum.z = fmaf(weight, other_sum.z, sum.z);
    sum.w = fmaf(weight, other_sum.w, sum.w);
  }
  __device__ __forceinline__ void write(Element* to) const {
    const float scale = 1.0f / total;
    *reinterpret_cast<uint2*>(to) = make_uint2(pack2<Element>(sum.x * scale, sum.y * scale),
                                               pack2<Element>(sum.z * scale, sum.w * scale));
  }
};

// Two places a block: for a unit that began in a share before, and for one that begins in its own
// and goes on in the next.
struct Partials {
  float* sums;     // [2 gridDim.x, kHeads, kHeadDim]
  float2* totals;  // [2 gridDim.x, kHeads]

  __device__ __forceinline__ explicit Partials(float* workspace)
      : sums(workspace),
        totals(reinterpret_cast<float2*>(workspace + int64_t(2 * gridDim.x) * kHeads * kHeadDim)) {}
  __device__ __forceinline__ void put(int place, int head, int dim, const Part& part) const {
    *reinterpret_cast<float4*>(sums + (int64_t(place) * kHeads + head) * kHeadDim + dim) = part.sum;
    if (dim == 0) totals[place * kHeads + head] = make_float2(part.top, part.total);
  }
  // Of a unit that lies in the shares of blocks first to last.
  __device__ __forceinline__ Part join(int first, int last, int head, int dim) const {
    constexpr int kBatch = 8;  // loads under way
    Part part;
    for (int base = first; base <= last; base += kBatch) {
      float2 other[kBatch];
      float4 other_sum[kBatch];
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        const int block = base + i;
        const int64_t row = int64_t(2 * block + (block == first ? 1 : 0)) * kHeads + head;
        other[i] = make_float2(kLowest, 0.0f);
        other_sum[i] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        if (base + i > last) continue;
        other[i] = __ldcg(totals + row);
        other_sum[i] = __ldcg(reinterpret_cast<const float4*>(sums + row * kHeadDim + dim));
      }
      float top = part.top;
#pragma unroll
      for (int i = 0; i < kBatch; ++i) top = fmaxf(top, other[i].x);
      part.decay_to(top);
#pragma unroll
      for (int i = 0; i < kBatch; ++i) part.add(other[i], other_sum[i]);
    }
    return part;
  }
};

// Calls visit(head, dim) for this thread's heads and first dimensions of four.
template <class Visit>
__device__ __forceinline__ void for_quads(int heads, const Visit& visit) {
  constexpr int kQuads = kHeadDim / 4;
#pragma unroll 1
  for (int i = threadIdx.x; i < heads * kQuads; i += kThreads) visit(i / kQuads, i % kQuads * 4);
}

// Joins the warps; writes y, or a partial result and then, in the last block that does, y.
__device__ __forceinline__ void finish(const Problem& problem, const Plan& plan,
                                       const Shares& shares, const UnitWalk& walk,
                                       const Partials& partials, uint32_t* counters,
                                       const float* sums, const float2* totals, int* last_flag) {
  const int heads = head_count(walk.unit);
  const int chunks = plan.chunks(walk.sequence);
  int first = blockIdx.x, last = blockIdx.x;
  if (walk.chunk_end - walk.chunk < chunks) {
    const int begin = kUnits * plan.before[walk.sequence] + walk.unit * chunks;
    first = shares.owner(begin);
    last = shares.owner(begin + chunks - 1);
  }
  const int place = 2 * blockIdx.x + (int(blockIdx.x) == first ? 1 : 0);
  Element* y =
      problem.y + walk.sequence * problem.y_stride + int64_t(first_head(walk.unit)) * kHeadDim;

  for_quads(heads, [&](int head, int dim) {
    Part part;
    float top = kLowest;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) top = fmaxf(top, totals[w * kHeads + head].x);
    part.top = top;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) {
      const int row = w * kHeads + head;
      part.add(totals[row], *reinterpret_cast<const float4*>(sums + row * kJoinRow + dim));
    }
    if (first == last)
      part.write(y + head * kHeadDim + dim);
    else
      partials.put(place, head, dim, part);
  });
  if (first == last) return;

  __syncthreads();
  if (threadIdx.x == 0) {
    uint32_t arrived;
    asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], 1;"
                 : "=r"(arrived)
                 : "l"(counters + first)
                 : "memory");
    *last_flag = arrived == uint32_t(last - first);
    if (*last_flag) counters[first] = 0;
  }
  __syncthreads();
  if (*last_flag == 0) return;
  for_quads(heads, [&](int head, int dim) {
    partials.join(first, last, head, dim).write(y + head * kHeadDim + dim);
  });
}

extern "C" __global__ void __launch_bounds__(kThreads, kBlocks)
    attention_decode(const Element* q, int64_t q_stride, const Element* cache,
                     const int* kv_lengths, const int* block_table, int table_stride,
                     const float* slopes, Element* y, int64_t y_stride, float* workspace,
                     uint32_t* counters, int sequences, float scale, int window, float softcap) {
  extern __shared__ __align__(128) uint8_t shared[];
  launch_dependents();
  wait_for_dependency();
  int* const warp_results = reinterpret_cast<int*>(shared + kPlanAt);
  int* const last_flag = warp_results + 2 * kWarps;
  int* const lengths = last_flag + 1;
  Plan plan{lengths, lengths + sequences, sequences, window};
  plan.build(kv_lengths, warp_results);
  const Shares shares(plan);
  if (int(blockIdx.x) >= shares.blocks) return;
  const int begin = shares.begin(blockIdx.x);
  const int end = shares.begin(blockIdx.x + 1);

  const Problem problem{q,        cache,    block_table,  slopes, y,
                        q_stride, y_stride, table_stride, scale,  softcap};
  const uint32_t ring = shared_address(shared) + threadIdx.x / 32 * kRingBytes;
  UnitWalk walk(plan, begin, end);
  Feeder feeder(problem, walk);
  typename Feeder::Tile ahead = feeder.next();
#pragma unroll 1
  for (int i = 0; i < kStages; ++i) {
    feeder.issue_keys(ahead, ring + i * kStageBytes);
    feeder.issue_values(ahead, ring + i * kStageBytes);
    ahead = feeder.next();
  }

  auto* const sums = reinterpret_cast<float*>(shared + kJoinAt);
  auto* const totals = reinterpret_cast<float2*>(shared + kTotalsAt);
  const Partials partials(workspace);
  int stage_at = 0;
  for (; walk.more(); walk.next()) {
    Running running;
    running.clear();
    bool fresh = true;
    for (int chunk = walk.chunk; chunk < walk.chunk_end; ++chunk) {
      const int start = tile_start(chunk);
      if (!tile_visible(start, walk.keys)) continue;
      const uint32_t stage = ring + stage_at;
      // Groups are committed as keys, values, keys, ...: all but the oldest may be under way.
      copy_async_wait<2 * kStages - 1>();
      __syncwarp();
      if (fresh) running.load_queries(problem, walk.unit, stage);
      fresh = false;
      typename Running::Scores scores;
      running.score(stage, scores);
      __syncwarp();
      feeder.issue_keys(ahead, stage);
      running.soften(problem, start, walk.keys, scores);
      copy_async_wait<2 * kStages - 1>();
      __syncwarp();
      running.mix(stage, scores);
      __syncwarp();
      feeder.issue_values(ahead, stage);
      ahead = feeder.next();
      stage_at = stage_at + kStageBytes == kRingBytes ? 0 : stage_at + kStageBytes;
    }
    __syncthreads();  // what the last unit left has been read
    running.hand_over(sums, totals);
    __syncthreads();
    finish(problem, plan, shares, walk, partials, counters, sums, totals, last_flag);
  }
}
