// attention: the step's keys and values go into the cache, then pieces of work (sequence, kv head,
// tile of tokens) are shared out. A piece passes once over the visible keys with a running softmax;
// all heads of a group share each load of a key. When there are few pieces, those with one tile are
// split into parts of kPartKeys keys.
//
// A row (a head of a token) always sees the same blocks of keys, summed in the same order, joined
// in the same parts: its result is bit-equal for any chunking of the prompt, any batch and any
// number of threads.
//
// Prompts are bound by the fused multiply-adds, decoding by reading the cache.
#include "backends/cpu/kernels/attention_block.h"
#include "backends/cpu/kernels/attention_cache.h"
#include "backends/cpu/kernels/kernels.h"
#include "backends/cpu/kernels/rows.h"

namespace brayton::cpu::BRAYTON_CPU_LEVEL {
namespace {

constexpr int64_t kPartKeys = 4 * kBlockKeys;
constexpr int64_t kMaxRows = 64;          // of a piece
constexpr int64_t kSerialWork = 1 << 16;  // multiply-adds that don't pay for waking a thread

int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t max_of(int64_t a, int64_t b) { return a > b ? a : b; }
int64_t parts_of(int64_t keys) { return (keys + kPartKeys - 1) / kPartKeys; }

struct Piece {
  int32_t sequence;
  int32_t kv_head;
  int32_t token;  // the first, packed
  int32_t tokens;
  int32_t part;    // -1: all of them
  int64_t result;  // of the part: index of its first row among the partial rows
};

struct Problem {
  const AttentionArgs& args;
  int64_t group;                       // heads of a kv head
  int64_t vectors;                     // of a head, the last one padded
  int64_t width;                       // vectors * kLanes
  int64_t tile;                        // tokens of a piece
  float* partial_acc = nullptr;        // [partial rows, width]
  RunningRow* partial_rows = nullptr;  // [partial rows]

  explicit Problem(const AttentionArgs& args)
      : args(args),
        group(args.q.dim(1) / args.k.dim(1)),
        vectors((args.q.dim(2) + kLanes - 1) / kLanes),
        width(vectors * kLanes),
        tile(max_of(1, kMaxRows / group)) {}

  int64_t tokens(int64_t s) const {
    return args.query_offsets.as<int32_t>()[s + 1] - args.query_offsets.as<int32_t>()[s];
  }
  int64_t length(int64_t s) const { return args.kv_lengths.as<int32_t>()[s]; }
  int64_t position(const Piece& piece) const {  // of its first token
    return length(piece.sequence) - args.query_offsets.as<int32_t>()[piece.sequence + 1] +
           piece.token;
  }
  int64_t first_key(int64_t position) const {
    return args.window > 0 ? max_of(0, position - args.window + 1) : 0;
  }
  // Element offset of a key (half 0) or value (half 1) in the cache.
  int64_t cache_offset(int64_t s, int64_t position, int64_t half, int64_t kv_head) const {
    const int64_t size = args.cache.dim(3);
    const int64_t block =
        args.block_table.as<int32_t>()[s * args.block_table.strides[0] + position / size];
    return (((block * 2 + half) * args.cache.dim(2) + kv_head) * size + position % size) *
           args.cache.dim(4);
  }
};

template <class Cache>
void append(Stream& stream, const Problem& problem) {
  using Element = typename Cache::Element;
  const AttentionArgs& args = problem.args;
  const auto* offsets = args.query_offsets.as<int32_t>();
  const int64_t head_dim = args.cache.dim(4);
  const int64_t cost = 4 * args.k.dim(1) * head_dim;
  for_rows(stream, offsets[args.kv_lengths.dim(0)], cost, [&](int64_t begin, int64_t end) {
    int64_t s = 0;
    for (int64_t t = begin; t < end; ++t) {
      while (offsets[s + 1] <= t) ++s;
      const int64_t position = problem.length(s) - offsets[s + 1] + t;
      for (int64_t h = 0; h < args.k.dim(1); ++h) {
        narrow<Cache>(args.k.as<float>() + t * args.k.strides[0] + h * args.k.strides[1], head_dim,
                      args.cache.as<Element>() + problem.cache_offset(s, position, 0, h));
        narrow<Cache>(args.v.as<float>() + t * args.v.strides[0] + h * args.v.strides[1], head_dim,
                      args.cache.as<Element>() + problem.cache_offset(s, position, 1, h));
      }
    }
  });
}

// The working memory of a thread.
struct Workspace {
  float* q;  // [kMaxRows, width], as are the next two
  float* part_acc;
  float* acc;
  float* keys;  // [kBlockKeys, width], as is the next
  float* values;
  RunningRow* part_rows;  // [kMaxRows], as is the next
  RunningRow* rows;

  static int64_t row_capacity(const Problem& problem) { return problem.tile * problem.group; }
  static size_t bytes(const Problem& problem) {
    const int64_t rows = row_capacity(problem);
    return static_cast<size_t>((3 * rows + 2 * kBlockKeys) * problem.width) * sizeof(float) +
           static_cast<size_t>(2 * rows) * sizeof(RunningRow);
  }
  Workspace(const Problem& problem, void* memory) {
    const int64_t rows_size = row_capacity(problem) * problem.width;
    q = static_cast<float*>(memory);
    part_acc = q + rows_size;
    acc = part_acc + rows_size;
    keys = acc + rows_size;
    values = keys + kBlockKeys * problem.width;
    part_rows = reinterpret_cast<RunningRow*>(values + kBlockKeys * problem.width);
    rows = part_rows + row_capacity(problem);
  }
};

// Computes one piece. A row is r = token of the piece * group + head of the group.
class PieceRun {
 public:
  PieceRun(const Problem& problem, const Piece& piece, void* memory)
      : problem_(problem),
        args_(problem.args),
        piece_(piece),
        space_(problem, memory),
        rows_(piece.tokens * problem.group),
        position_(problem.position(piece)) {}

  template <class Cache>
  void run() {
    for (int64_t r = 0; r < rows_; ++r)
      widen<CacheF32>(head(args_.q, r), args_.q.dim(2), space_.q + r * problem_.width);
    if (piece_.part >= 0) {
      float* acc = problem_.partial_acc + piece_.result * problem_.width;
      run_part<Cache>(piece_.part, acc, problem_.partial_rows + piece_.result);
      return;
    }
    for (int64_t r = 0; r < rows_; ++r) space_.rows[r] = RunningRow();
    const int64_t last = position_ + piece_.tokens;
    for (int64_t part = problem_.first_key(position_) / kPartKeys; part < parts_of(last); ++part) {
      run_part<Cache>(part, space_.part_acc, space_.part_rows);
      for (int64_t r = 0; r < rows_; ++r)
        join_part(space_.part_rows[r], space_.part_acc + r * problem_.width, space_.rows[r],
                  space_.acc + r * problem_.width, problem_.vectors);
    }
    for (int64_t r = 0; r < rows_; ++r) finish(r, space_.rows[r], space_.acc + r * problem_.width);
  }

  void join_parts() {
    for (int64_t r = 0; r < rows_; ++r) {
      RunningRow row;
      float* acc = space_.acc;
      int64_t at = piece_.result + r;
      for (int64_t part = problem_.first_key(position_) / kPartKeys;
           part < parts_of(position_ + piece_.tokens); ++part, at += rows_)
        join_part(problem_.partial_rows[at], problem_.partial_acc + at * problem_.width, row, acc,
                  problem_.vectors);
      finish(r, row, acc);
    }
  }

 private:
  float* head(const TensorView& tensor, int64_t r) const {
    const int64_t h = piece_.kv_head * problem_.group + r % problem_.group;
    return tensor.as<float>() + (piece_.token + r / problem_.group) * tensor.strides[0] +
           h * tensor.strides[1];
  }

  void finish(int64_t r, const RunningRow& row, const float* acc) const {
    float* y = head(args_.y, r);
    const F32 scale = splat(1.0f / row.total);
    const int64_t head_dim = args_.y.dim(2);
    int64_t i = 0;
    for (; i + kLanes <= head_dim; i += kLanes) store(y + i, load(acc + i) * scale);
    if (i < head_dim) store_first(y + i, load(acc + i) * scale, head_dim - i);
  }

  template <class Cache>
  void run_part(int64_t part, float* acc, RunningRow* rows) {
    for (int64_t r = 0; r < rows_; ++r) rows[r] = RunningRow();
    for (int64_t i = 0; i < rows_ * problem_.vectors; ++i) store(acc + i * kLanes, F32{});
    const int64_t first = max_of(part * kPartKeys, problem_.first_key(position_));
    const int64_t last = min_of((part + 1) * kPartKeys, position_ + piece_.tokens);
    for (int64_t key = first; key < last; key = (key / kBlockKeys + 1) * kBlockKeys)
      run_block<Cache>(key, min_of(last, (key / kBlockKeys + 1) * kBlockKeys), acc, rows);
  }

  // Keys [first, last), of one block.
  template <class Cache>
  void run_block(int64_t first, int64_t last, float* acc, RunningRow* rows) {
    using Element = typename Cache::Element;
    const Element* keys[kBlockKeys];
    const Element* values[kBlockKeys];
    find_keys<Cache>(first, last, keys);
    // The cache's second half holds the values, in the same places.
    const int64_t half = args_.cache.strides[1];
    for (int64_t j = 0; j < kBlockKeys; ++j) values[j] = keys[j] + half;
    const int64_t block = first / kBlockKeys * kBlockKeys;
    const int64_t head_dim = args_.cache.dim(4);
    const bool whole_vectors = head_dim == problem_.width;
    const bool few_rows = rows_ <= kTileRows;
    if (whole_vectors && (sizeof(Element) == sizeof(float) || few_rows)) {
      // Few rows wait for memory: while they score keys, values come nearer, and while they mix
      // values, the keys of the next block do.
      const Element* next_keys[kBlockKeys];
      const int64_t next = block + kBlockKeys;
      const int64_t length = position_ + piece_.tokens;
      const bool more = few_rows && next < length;
      if (more) find_keys<Cache>(next, min_of(next + kBlockKeys, length), next_keys);
      run_tiles<Cache>({.keys = keys,
                        .values = values,
                        .values_ahead = few_rows ? values : nullptr,
                        .keys_ahead = more ? next_keys : nullptr,
                        .block = block,
                        .first = first,
                        .last = last,
                        .acc = acc,
                        .rows = rows});
      return;
    }
    const float* wide_keys[kBlockKeys];
    const float* wide_values[kBlockKeys];
    for (int64_t j = 0; j < kBlockKeys; ++j) {
      const int64_t at = min_of(max_of(j, first - block), last - block - 1);
      float* key = space_.keys + at * problem_.width;
      float* value = space_.values + at * problem_.width;
      if (at == j) {
        widen<Cache>(keys[j], head_dim, key);
        widen<Cache>(values[j], head_dim, value);
      }
      wide_keys[j] = key;
      wide_values[j] = value;
    }
    run_tiles<CacheF32>({.keys = wide_keys,
                         .values = wide_values,
                         .values_ahead = nullptr,
                         .keys_ahead = nullptr,
                         .block = block,
                         .first = first,
                         .last = last,
                         .acc = acc,
                         .rows = rows});
  }

  // Where keys [first, last) of one block lie; places beyond the ends get something readable.
  template <class Cache>
  void find_keys(int64_t first, int64_t last, const typename Cache::Element** keys) const {
    const TensorView& cache = args_.cache;
    const int64_t size = cache.dim(3);
    const int64_t head_dim = cache.dim(4);
    const auto* blocks = args_.block_table.as<int32_t>() +
                         piece_.sequence * args_.block_table.strides[0] + first / size;
    const int64_t begin = first % kBlockKeys;
    const int64_t end = begin + last - first;
    int64_t slot = first % size;
    for (int64_t j = begin; j < end; slot = 0, ++blocks) {
      const auto* run = cache.as<typename Cache::Element>() + *blocks * cache.strides[0] +
                        piece_.kv_head * cache.strides[2];
      for (; slot < size && j < end; ++slot, ++j) keys[j] = run + slot * head_dim;
    }
    for (int64_t j = 0; j < begin; ++j) keys[j] = keys[begin];
    for (int64_t j = end; j < kBlockKeys; ++j) keys[j] = keys[end - 1];
  }

  template <class Cache>
  struct Block {
    const typename Cache::Element* const* keys;
    const typename Cache::Element* const* values;
    const typename Cache::Element* const* values_ahead;  // to prefetch, or null
    const typename Cache::Element* const* keys_ahead;    // to prefetch, or null
    int64_t block;                                       // position of key 0
    int64_t first, last;
    float* acc;
    RunningRow* rows;
    int64_t row = 0;  // the first of the tile
  };

  template <class Cache>
  void run_tiles(Block<Cache> tile) {
    for (int64_t& r = tile.row; r < rows_; r += kTileRows) {
      switch (min_of(kTileRows, rows_ - r)) {
        case 1:
          run_tile<1>(tile);
          break;
        case 2:
          run_tile<2>(tile);
          break;
        case 3:
          run_tile<kTileRows == 2 ? 2 : 3>(tile);
          break;
        default:
          run_tile<kTileRows>(tile);
      }
    }
  }

  template <int kRows, class Cache>
  void run_tile(const Block<Cache>& tile) {
    alignas(64) float scores[kRows * kBlockKeys];
    int64_t begin[kRows], end[kRows];  // the keys that each row sees
    int64_t any_begin = kBlockKeys, any_end = 0, all_begin = 0, all_end = kBlockKeys;
    for (int r = 0; r < kRows; ++r) {
      const int64_t position = position_ + (tile.row + r) / problem_.group;
      begin[r] = max_of(tile.first, problem_.first_key(position)) - tile.block;
      end[r] = min_of(tile.last, position + 1) - tile.block;
      if (begin[r] < end[r]) {
        any_begin = min_of(any_begin, begin[r]);
        any_end = max_of(any_end, end[r]);
      }
      all_begin = max_of(all_begin, begin[r]);
      all_end = min_of(all_end, end[r]);
    }
    if (any_begin >= any_end) return;
    const int64_t width = problem_.width;
    score_keys<kRows, Cache>(space_.q + tile.row * width, width, tile.keys, tile.values_ahead,
                             any_begin, any_end, problem_.vectors, scores);
    for (int r = 0; r < kRows; ++r) {
      if (begin[r] >= end[r]) continue;
      const int64_t position = position_ + (tile.row + r) / problem_.group;
      const float factor =
          weigh_keys(scores + r * kBlockKeys, begin[r], end[r], tile.block - position,
                     rule(tile.row + r), tile.rows[tile.row + r]);
      if (factor == 1.0f) continue;
      float* acc = tile.acc + (tile.row + r) * width;
      for (int64_t i = 0; i < width; i += kLanes) store(acc + i, load(acc + i) * factor);
    }
    // A key that one row does not see must not reach it, not even times zero.
    const bool shared = all_begin < all_end;
    for (int r = 0; r < kRows; ++r) mix_row(tile, scores, r, begin[r], shared ? all_begin : end[r]);
    if (!shared) return;
    mix_values<kRows, Cache>(scores, tile.values, tile.keys_ahead, all_begin, all_end,
                             problem_.vectors, tile.acc + tile.row * width, width);
    for (int r = 0; r < kRows; ++r) mix_row(tile, scores, r, all_end, end[r]);
  }

  template <class Cache>
  void mix_row(const Block<Cache>& tile, const float* scores, int r, int64_t begin, int64_t end) {
    mix_values<1, Cache>(scores + r * kBlockKeys, tile.values, nullptr, begin, end,
                         problem_.vectors, tile.acc + (tile.row + r) * problem_.width,
                         problem_.width);
  }

  ScoreRule rule(int64_t r) const {
    const int64_t h = piece_.kv_head * problem_.group + r % problem_.group;
    return {.scale = args_.scale,
            .slope = args_.slopes ? args_.slopes.as<float>()[h] : 0.0f,
            .softcap = args_.softcap};
  }

  const Problem& problem_;
  const AttentionArgs& args_;
  const Piece& piece_;
  Workspace space_;
  int64_t rows_;
  int64_t position_;
};

// The pieces of a step, in the stream's scratch memory.
struct Pieces {
  Piece* list = nullptr;
  int64_t count = 0;
  int64_t partial_rows = 0;
  int64_t work = 0;  // multiply-adds
};

// Calls take(piece) for all pieces, the longest of a sequence first.
template <class Take>
void for_pieces(const Problem& problem, bool split, const Take& take) {
  const AttentionArgs& args = problem.args;
  int64_t partial_rows = 0;
  for (int64_t s = 0; s < args.kv_lengths.dim(0); ++s) {
    const int64_t tokens = problem.tokens(s);
    const int64_t parts = parts_of(problem.length(s));
    for (int64_t tile = (tokens + problem.tile - 1) / problem.tile - 1; tile >= 0; --tile)
      for (int64_t h = 0; h < args.k.dim(1); ++h) {
        Piece piece{
            .sequence = static_cast<int32_t>(s),
            .kv_head = static_cast<int32_t>(h),
            .token =
                static_cast<int32_t>(args.query_offsets.as<int32_t>()[s] + tile * problem.tile),
            .tokens = static_cast<int32_t>(min_of(problem.tile, tokens - tile * problem.tile)),
            .part = -1,
            .result = 0};
        if (!split || tokens > problem.tile) {
          take(piece);
          continue;
        }
        for (int64_t part = problem.first_key(problem.position(piece)) / kPartKeys; part < parts;
             ++part) {
          piece.part = static_cast<int32_t>(part);
          piece.result = partial_rows;
          partial_rows += piece.tokens * problem.group;
          take(piece);
        }
      }
  }
}

Pieces plan(CpuStream& stream, Problem& problem) {
  Pieces pieces;
  for_pieces(problem, false, [&](const Piece& piece) {
    ++pieces.count;
    const int64_t keys =
        problem.length(piece.sequence) - problem.first_key(problem.position(piece));
    pieces.work += piece.tokens * problem.group * 2 * problem.width * keys;
  });
  const bool split =
      stream.threads() > 1 && pieces.count < 4 * stream.threads() && pieces.work > kSerialWork;
  pieces.count = 0;
  for_pieces(problem, split, [&](const Piece& piece) {
    ++pieces.count;
    if (piece.part >= 0) pieces.partial_rows += piece.tokens * problem.group;
  });
  const int64_t acc_bytes = pieces.partial_rows * problem.width * int64_t{sizeof(float)};
  const int64_t row_bytes = pieces.partial_rows * int64_t{sizeof(RunningRow)};
  auto* memory = static_cast<char*>(stream.shared_scratch(
      static_cast<size_t>(acc_bytes + row_bytes + pieces.count * int64_t{sizeof(Piece)})));
  problem.partial_acc = reinterpret_cast<float*>(memory);
  problem.partial_rows = reinterpret_cast<RunningRow*>(memory + acc_bytes);
  pieces.list = reinterpret_cast<Piece*>(memory + acc_bytes + row_bytes);
  Piece* next = pieces.list;
  for_pieces(problem, split, [&](const Piece& piece) { *next++ = piece; });
  return pieces;
}

template <class Cache>
void attend(Stream& stream, const AttentionArgs& args) {
  Problem problem(args);
  append<Cache>(stream, problem);
  CpuStream& cpu = cpu_stream(stream);
  const Pieces pieces = plan(cpu, problem);
  cpu.reserve_thread_scratch(Workspace::bytes(problem));
  const auto work = [&](int64_t piece, int thread) {
    PieceRun(problem, pieces.list[piece], cpu.thread_scratch(thread)).template run<Cache>();
  };
  if (pieces.work <= kSerialWork)
    for (int64_t piece = 0; piece < pieces.count; ++piece) work(piece, 0);
  else
    cpu.pool().run(pieces.count, work);
  // The first part of each split piece joins them all.
  for (int64_t i = 0; i < pieces.count; ++i) {
    const Piece& piece = pieces.list[i];
    if (piece.part >= 0 && piece.part == problem.first_key(problem.position(piece)) / kPartKeys)
      PieceRun(problem, piece, cpu.thread_scratch(0)).join_parts();
  }
}

}  // namespace

void attention(Stream& stream, const AttentionArgs& args) {
  check(args);
  check_contents(args);
  if (args.cache.dtype == DType::kF32)
    attend<CacheF32>(stream, args);
  else if (args.cache.dtype == DType::kF16)
    attend<CacheF16>(stream, args);
  else
    attend<CacheBF16>(stream, args);
}

}  // namespace brayton::cpu::BRAYTON_CPU_LEVEL
