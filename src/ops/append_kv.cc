#include "ops/append_kv.h"

#include <vector>

#include "ops/attention.h"
#include "ops/dim_check.h"
#include "ops/float_element.h"
#include "ops/rms_norm.h"
#include "ops/rope.h"

namespace brayton {
namespace {

// Turns rows in place.
void turn(const AppendKvArgs& args, const TensorView& rows) {
  if (!args.inv_freq) return;
  reference(RopeArgs{.x = rows,
                     .positions = args.positions.slice(0, 0, rows.dim(0)),
                     .inv_freq = args.inv_freq,
                     .y = rows,
                     .interleaved = args.interleaved,
                     .scale = args.scale});
}

// The first `tokens` rows of x, normalised where there are weights and turned, in place.
void prepare(const AppendKvArgs& args, const TensorView& x, const TensorView& weights,
             int64_t tokens) {
  const TensorView rows = x.slice(0, 0, tokens);
  if (!weights || tokens == 0) return turn(args, rows);
  const int64_t heads = x.dim(1), head_dim = x.dim(2);
  std::vector<float> unrounded;
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t i = 0; i < head_dim; ++i) unrounded.push_back(load_float(rows, t, h, i));
  const TensorView all(unrounded.data(), DType::kF32, {tokens * heads, head_dim});
  reference(RmsNormArgs{
      .x = all, .residual = {}, .w = weights, .sum = {}, .y = all, .eps = args.norm_eps});
  turn(args, TensorView(unrounded.data(), DType::kF32, {tokens, heads, head_dim}));
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t i = 0; i < head_dim; ++i)
        store_float(rows, t, h, i, unrounded[(t * heads + h) * head_dim + i]);
}

// Row t of x into half 0 (keys) or 1 (values) of a slot.
void store(const AppendKvArgs& args, const TensorView& x, int64_t t, int64_t block, int64_t slot,
           int64_t half) {
  const TensorView& cache = args.cache;
  for (int64_t h = 0; h < cache.dim(2); ++h) {
    const int64_t at =
        (((block * 2 + half) * cache.dim(2) + h) * cache.dim(3) + slot) * cache.dim(4);
    for (int64_t i = 0; i < cache.dim(4); ++i)
      store_float(cache.dtype, cache.data, at + i, load_float(x, t, h, i));
  }
}

}  // namespace

void check(const AppendKvArgs& args) {
  DimCheck dims("append_kv");
  dims.dims(args.q, "q", {"T", "heads", "head_dim"})
      .dims(args.k, "k", {"T", "kv_heads", "head_dim"})
      .dims(args.v, "v", {"T", "kv_heads", "head_dim"})
      .dims_if(args.positions, "positions", {"T"})
      .dims_if(args.inv_freq, "inv_freq", {"P"})
      .dims_if(args.q_norm, "q_norm", {"head_dim"})
      .dims_if(args.k_norm, "k_norm", {"head_dim"})
      .dims(args.cache, "cache", {"blocks", "2", "kv_heads", "block_size", "head_dim"})
      .dims(args.kv_lengths, "kv_lengths", {"S"})
      .dims(args.query_offsets, "query_offsets", {"S+1"})
      .dims(args.block_table, "block_table", {"S", "*"})
      .activations({{&args.q, "q"}, {&args.k, "k"}, {&args.v, "v"}})
      .activations({{&args.cache, "cache"}})
      .contiguous(args.cache, "cache")
      .needs(args.inv_freq, "inv_freq", args.positions, "positions")
      .dtype_if(args.positions, "positions", DType::kI32)
      .dtype_if(args.inv_freq, "inv_freq", DType::kF32)
      .dtype_if(args.q_norm, "q_norm", DType::kF32)
      .dtype_if(args.k_norm, "k_norm", DType::kF32)
      .dtype(args.kv_lengths, "kv_lengths", DType::kI32)
      .dtype(args.query_offsets, "query_offsets", DType::kI32)
      .dtype(args.block_table, "block_table", DType::kI32)
      .at_least("block_size", dims["block_size"], 1);
  if (args.inv_freq) dims.at_most("2 P", 2 * dims["P"], "head_dim", dims["head_dim"]);
}

void reference(const AppendKvArgs& args) {
  check(args);
  AttentionArgs batch;  // the same arrays under the same rules
  batch.q = args.q;
  batch.cache = args.cache;
  batch.query_offsets = args.query_offsets;
  batch.kv_lengths = args.kv_lengths;
  batch.block_table = args.block_table;
  check_contents(batch);

  const int64_t sequences = args.kv_lengths.dim(0);
  const auto* offsets = args.query_offsets.as<int32_t>();
  prepare(args, args.q, args.q_norm, offsets[sequences]);
  prepare(args, args.k, args.k_norm, offsets[sequences]);
  const int64_t block_size = args.cache.dim(3);
  for (int64_t s = 0; s < sequences; ++s) {
    const int64_t first = args.kv_lengths.as<int32_t>()[s] - offsets[s + 1];
    const auto* blocks = args.block_table.row_as<int32_t>(s);
    for (int64_t t = offsets[s]; t < offsets[s + 1]; ++t) {
      const int64_t position = first + t;
      const int64_t block = blocks[position / block_size];
      store(args, args.k, t, block, position % block_size, 0);
      store(args, args.v, t, block, position % block_size, 1);
    }
  }
}

}  // namespace brayton
