#include "ops/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/format.h"
#include "ops/dim_check.h"
#include "ops/float_element.h"

namespace brayton {
namespace {

// Element offset of key (half 0) or value (half 1) vector `position` of sequence `s`.
int64_t cache_offset(const AttentionArgs& args, int64_t s, int64_t position, int half,
                     int64_t kv_head) {
  const int64_t block_size = args.cache.dim(3);
  const int64_t column = position / block_size;
  const int64_t block = args.block_table.row_as<int32_t>(s)[column];
  const int64_t row = ((block * 2 + half) * args.cache.dim(2) + kv_head) * block_size;
  return (row + position % block_size) * args.cache.dim(4);
}

void append(const AttentionArgs& args, int64_t s, int64_t t, int64_t position) {
  for (int64_t h = 0; h < args.cache.dim(2); ++h) {
    const int64_t key = cache_offset(args, s, position, 0, h);
    const int64_t value = cache_offset(args, s, position, 1, h);
    for (int64_t i = 0; i < args.cache.dim(4); ++i) {
      store_float(args.cache.dtype, args.cache.data, key + i, load_float(args.k, t, h, i));
      store_float(args.cache.dtype, args.cache.data, value + i, load_float(args.v, t, h, i));
    }
  }
}

// Head h of token t, at `position` of sequence s.
void attend(const AttentionArgs& args, int64_t s, int64_t t, int64_t position, int64_t h) {
  const int64_t head_dim = args.cache.dim(4);
  const int64_t kv_head = h / (args.q.dim(1) / args.cache.dim(2));
  const int64_t first = args.window > 0 ? std::max<int64_t>(0, position - args.window + 1) : 0;
  std::vector<double> scores;
  double largest = -std::numeric_limits<double>::infinity();
  for (int64_t j = first; j <= position; ++j) {
    const int64_t key = cache_offset(args, s, j, 0, kv_head);
    double dot = 0.0;
    for (int64_t i = 0; i < head_dim; ++i)
      dot += double{load_float(args.q, t, h, i)} *
             load_float(args.cache.dtype, args.cache.data, key + i);
    double score = args.scale * dot;
    if (args.slopes)
      score += double{args.slopes.as<float>()[h]} * static_cast<double>(j - position);
    if (args.softcap > 0.0f) score = args.softcap * std::tanh(score / args.softcap);
    scores.push_back(score);
    largest = std::max(largest, score);
  }
  double total = 0.0;
  for (double& score : scores) total += score = std::exp(score - largest);
  std::vector<double> mixed(head_dim);
  for (int64_t j = first; j <= position; ++j) {
    const int64_t value = cache_offset(args, s, j, 1, kv_head);
    for (int64_t i = 0; i < head_dim; ++i)
      mixed[i] += scores[j - first] * load_float(args.cache.dtype, args.cache.data, value + i);
  }
  for (int64_t i = 0; i < head_dim; ++i)
    store_float(args.y, t, h, i, static_cast<float>(mixed[i] / total));
}

}  // namespace

void check(const AttentionArgs& args) {
  DimCheck dims("attention");
  dims.dims(args.q, "q", {"T", "heads", "head_dim"})
      .dims_if(args.k, "k", {"T", "kv_heads", "head_dim"})
      .dims_if(args.v, "v", {"T", "kv_heads", "head_dim"})
      .dims(args.cache, "cache", {"blocks", "2", "kv_heads", "block_size", "head_dim"})
      .dims(args.kv_lengths, "kv_lengths", {"S"})
      .dims(args.query_offsets, "query_offsets", {"S+1"})
      .dims(args.block_table, "block_table", {"S", "*"})
      .dims_if(args.slopes, "slopes", {"heads"})
      .dims(args.y, "y", {"T", "heads", "head_dim"})
      .activations({{&args.q, "q"}, {&args.k, "k"}, {&args.v, "v"}, {&args.y, "y"}})
      .activations({{&args.cache, "cache"}})
      .contiguous(args.cache, "cache")
      .needs(args.k, "k", args.v, "v")
      .needs(args.v, "v", args.k, "k")
      .dtype(args.kv_lengths, "kv_lengths", DType::kI32)
      .dtype(args.query_offsets, "query_offsets", DType::kI32)
      .dtype(args.block_table, "block_table", DType::kI32)
      .dtype_if(args.slopes, "slopes", DType::kF32)
      .multiple("heads", dims["heads"], "kv_heads", dims["kv_heads"])
      .at_least("window", args.window, 0)
      .at_least("block_size", dims["block_size"], 1);
}

void check_contents(const AttentionArgs& args) {
  const int64_t sequences = args.kv_lengths.dim(0);
  const int64_t block_size = args.cache.dim(3);
  const auto* offsets = args.query_offsets.as<int32_t>();
  const auto* lengths = args.kv_lengths.as<int32_t>();
  if (offsets[0] != 0 || offsets[sequences] > args.q.dim(0))
    throw_error(ErrorCode::kInvalidArgument,
                "[attention] query_offsets must go from 0 to at most T {}, got {} to {}",
                args.q.dim(0), offsets[0], offsets[sequences]);
  for (int64_t s = 0; s < sequences; ++s) {
    const int64_t tokens = int64_t{offsets[s + 1]} - offsets[s];
    const int64_t most = args.block_table.dim(1) * block_size;
    if (tokens < 0 || lengths[s] < tokens || lengths[s] > most)
      throw_error(ErrorCode::kInvalidArgument,
                  "[attention] kv_lengths[{}] must be in [{} new tokens, {} slots of the table], "
                  "got {}",
                  s, tokens, most, lengths[s]);
    const auto* blocks = args.block_table.row_as<int32_t>(s);
    for (int64_t column = 0; column * block_size < lengths[s]; ++column)
      if (blocks[column] < 0 || blocks[column] >= args.cache.dim(0))
        throw_error(ErrorCode::kInvalidArgument,
                    "[attention] block_table[{}, {}] must be in [0, {}), got {}", s, column,
                    args.cache.dim(0), blocks[column]);
  }
}

void reference(const AttentionArgs& args) {
  check(args);
  check_contents(args);
  const auto* offsets = args.query_offsets.as<int32_t>();
  for (int64_t s = 0; s < args.kv_lengths.dim(0); ++s) {
    const int64_t tokens = offsets[s + 1] - offsets[s];
    const int64_t cached = args.kv_lengths.as<int32_t>()[s] - tokens;
    if (args.k)
      for (int64_t n = 0; n < tokens; ++n) append(args, s, offsets[s] + n, cached + n);
    for (int64_t n = 0; n < tokens; ++n)
      for (int64_t h = 0; h < args.q.dim(1); ++h) attend(args, s, offsets[s] + n, cached + n, h);
  }
}

}  // namespace brayton
