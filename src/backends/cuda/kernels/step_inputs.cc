#include "backends/cuda/kernels/step_inputs.h"

#include <algorithm>

#include "backends/cuda/kernels/vector_rows.h"

namespace brayton::cuda {
namespace {

constexpr int kThreads = 256;

void check_capacity(const char* name, const TensorView& array, int64_t needed) {
  if (array.dim(0) < needed)
    throw_error(ErrorCode::kInvalidArgument, "[unpack_step] {} must have room for {}, got {}", name,
                needed, array.dim(0));
}

}  // namespace

int64_t unpack_step_blocks(int64_t items, int multiprocessors) {
  return std::clamp<int64_t>((items + kThreads - 1) / kThreads, 1, multiprocessors);
}

void unpack_step(Stream& any_stream, const UnpackStepArgs& args) {
  check_capacity("token_ids", args.token_ids, args.tokens);
  check_capacity("positions", args.positions, args.tokens);
  check_capacity("logit_rows", args.logit_rows, args.rows);
  check_capacity("query_offsets", args.query_offsets, args.sequences + 1);
  check_capacity("kv_lengths", args.kv_lengths, args.sequences);
  check_capacity("slots", args.slots, args.sequences);
  check_capacity("block_table", args.block_table, args.sequences);
  CudaStream& stream = cuda_stream(any_stream);
  KernelSpec spec("step_inputs", "unpack_step");
  spec.define("THREADS", kThreads);
  // How many of the block table's columns there are is known on the device only.
  const int64_t items =
      args.tokens + args.rows + args.sequences + args.sequences * args.block_table.dim(1);
  LaunchShape shape;
  shape.grid[0] = static_cast<unsigned>(unpack_step_blocks(items, stream.device().multiprocessors));
  shape.threads = kThreads;
  stream.launch(spec, shape, args.packed.data, args.sampled.data,
                to_int32(args.sampled ? args.sampled.dim(0) : 0), args.token_ids.data,
                args.positions.data, args.logit_rows.data, args.query_offsets.data,
                args.kv_lengths.data, args.slots.data, args.block_table.data,
                args.block_table.strides[0], to_int32(args.tokens), to_int32(args.sequences),
                to_int32(args.rows), args.scratch_block);
}

}  // namespace brayton::cuda
