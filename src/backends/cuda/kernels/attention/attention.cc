#include "backends/cuda/kernels/attention/attention.h"

#include <algorithm>

#include "backends/cuda/kernels/append_kv.h"
#include "backends/cuda/kernels/attention/attention_shape.h"
#include "core/format.h"

namespace brayton::cuda {
namespace {

// Heads lie side by side in a row.
void check_heads(const TensorView& x, const char* name) {
  if (x.dim(1) > 1 && x.strides[1] != x.dim(2))
    throw_error(ErrorCode::kInvalidArgument,
                "[attention] {}'s heads must be {} elements apart, got {}", name, x.dim(2),
                x.strides[1]);
}

}  // namespace

void attention(Stream& any_stream, const AttentionArgs& args) {
  check(args);
  check_heads(args.q, "q");
  check_heads(args.y, "y");
  const int64_t tokens = args.q.dim(0);
  const int64_t sequences = args.kv_lengths.dim(0);
  if (args.decodes < 0 || args.decodes > std::min(tokens, sequences))
    throw_error(ErrorCode::kInvalidArgument,
                "[attention] decodes must be in [0, {}] with {} tokens of {} sequences, got {}",
                std::min(tokens, sequences), tokens, sequences, args.decodes);
  if (tokens == 0 || sequences == 0) return;
  if (args.k)
    append_kv(any_stream, AppendKvArgs{.q = args.q,
                                       .k = args.k,
                                       .v = args.v,
                                       .positions = {},
                                       .inv_freq = {},
                                       .cache = args.cache,
                                       .query_offsets = args.query_offsets,
                                       .kv_lengths = args.kv_lengths,
                                       .block_table = args.block_table});
  CudaStream& stream = cuda_stream(any_stream);
  if (args.decodes > 0) attention_decode(stream, args);
  const PrefillRange range{.first_sequence = args.decodes,
                           .sequences = sequences - args.decodes,
                           .rows = tokens - args.decodes};
  if (range.sequences == 0 || range.rows == 0) return;
  if (prefill_hopper_supports(stream.device(), args))
    attention_prefill_hopper(stream, args, range);
  else
    attention_prefill(stream, args, range);
}

}  // namespace brayton::cuda
