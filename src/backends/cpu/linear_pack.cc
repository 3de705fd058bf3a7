#include "backends/cpu/linear_pack.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "backends/cpu/linear_layout.h"
#include "core/check.h"
#include "core/checked_math.h"
#include "ops/quant_blocks.h"
#include "ops/quant_formats.h"

namespace brayton::cpu {
namespace {

// One stored block with its values in the order of k. 32 values, or 256 for the K formats.
struct Unpacked {
  uint8_t q[256];
  uint16_t d = 0;
  uint16_t m = 0;  // dmin of the K formats
  uint8_t scales[16] = {};
  uint8_t mins[16] = {};
};

void split_nibbles(const uint8_t* qs, uint8_t* q) {
  for (int i = 0; i < 16; ++i) {
    q[i] = qs[i] & 15;
    q[i + 16] = qs[i] >> 4;
  }
}

void add_fifth_bits(const uint8_t (&qh)[4], uint8_t* q) {
  for (int i = 0; i < 32; ++i) q[i] |= ((qh[i / 8] >> (i % 8)) & 1) << 4;
}

void unpack(const BlockQ4_0& block, Unpacked& to) {
  to.d = block.d;
  split_nibbles(block.qs, to.q);
}

void unpack(const BlockQ4_1& block, Unpacked& to) {
  to.d = block.d;
  to.m = block.m;
  split_nibbles(block.qs, to.q);
}

void unpack(const BlockQ5_0& block, Unpacked& to) {
  to.d = block.d;
  split_nibbles(block.qs, to.q);
  add_fifth_bits(block.qh, to.q);
}

void unpack(const BlockQ5_1& block, Unpacked& to) {
  to.d = block.d;
  to.m = block.m;
  split_nibbles(block.qs, to.q);
  add_fifth_bits(block.qh, to.q);
}

void unpack(const BlockQ8_0& block, Unpacked& to) {
  to.d = block.d;
  for (int i = 0; i < 32; ++i) to.q[i] = static_cast<uint8_t>(block.qs[i]) ^ 0x80;
}

void unpack(const BlockQ2_K& block, Unpacked& to) {
  to.d = block.d;
  to.m = block.dmin;
  for (int g = 0; g < 16; ++g) {
    to.scales[g] = block.scales[g] & 15;
    to.mins[g] = block.scales[g] >> 4;
  }
  for (int i = 0; i < 256; ++i)
    to.q[i] = (block.qs[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2)) & 3;
}

void unpack(const BlockQ3_K& block, Unpacked& to) {
  to.d = block.d;
  const auto scales = unpack_signed_scales(block.scales);
  std::memcpy(to.scales, scales.data(), sizeof(to.scales));
  for (int i = 0; i < 256; ++i) {
    const int low = (block.qs[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2)) & 3;
    const int high = (block.hmask[i % 32] >> (i / 32)) & 1;
    to.q[i] = static_cast<uint8_t>(low | high << 2);
  }
}

void set_k_scales(const uint8_t (&packed)[12], Unpacked& to) {
  const KScales scales = unpack_scales(packed);
  std::memcpy(to.scales, scales.scale.data(), 8);
  std::memcpy(to.mins, scales.min.data(), 8);
}

void unpack(const BlockQ4_K& block, Unpacked& to) {
  to.d = block.d;
  to.m = block.dmin;
  set_k_scales(block.scales, to);
  for (int pair = 0; pair < 4; ++pair)
    for (int i = 0; i < 32; ++i) {
      to.q[pair * 64 + i] = block.qs[pair * 32 + i] & 15;
      to.q[pair * 64 + 32 + i] = block.qs[pair * 32 + i] >> 4;
    }
}

void unpack(const BlockQ5_K& block, Unpacked& to) {
  to.d = block.d;
  to.m = block.dmin;
  set_k_scales(block.scales, to);
  for (int g = 0; g < 8; ++g)
    for (int i = 0; i < 32; ++i) {
      const int low = (block.qs[g / 2 * 32 + i] >> (g % 2 * 4)) & 15;
      to.q[g * 32 + i] = static_cast<uint8_t>(low | ((block.qh[i] >> g) & 1) << 4);
    }
}

void unpack(const BlockQ6_K& block, Unpacked& to) {
  to.d = block.d;
  std::memcpy(to.scales, block.scales, sizeof(to.scales));
  for (int run = 0; run < 8; ++run)  // of 32; a half of the block holds four
    for (int i = 0; i < 32; ++i) {
      const int half = run / 4, part = run % 4;
      const int low = (block.ql[half * 64 + part % 2 * 32 + i] >> (part / 2 * 4)) & 15;
      const int high = (block.qh[half * 32 + i] >> (part * 2)) & 3;
      to.q[run * 32 + i] = static_cast<uint8_t>(low | high << 4);
    }
}

// 32 values of one row into its lane of a packed block.
void place_quants(const LinearLayout& layout, const uint8_t* q, int lanes, int lane,
                  uint8_t* block) {
  uint8_t* target = block + lane * 4;
  const int step = lanes * 4;
  if (layout.bits == 8) {
    for (int quad = 0; quad < 8; ++quad) std::memcpy(target + quad * step, q + quad * 4, 4);
    return;
  }
  uint8_t low[16];
  for (int i = 0; i < 16; ++i) low[i] = static_cast<uint8_t>((q[i] & 15) | (q[i + 16] & 15) << 4);
  for (int quad = 0; quad < 4; ++quad) std::memcpy(target + quad * step, low + quad * 4, 4);
  if (layout.bits == 4) return;
  for (int half = 0; half < 2; ++half)
    for (int i = 0; i < 4; ++i) {
      const uint8_t* from = q + half * 16 + i;
      target[(4 + half) * step + i] = static_cast<uint8_t>(
          from[0] >> 4 | (from[4] >> 4) << 2 | (from[8] >> 4) << 4 | (from[12] >> 4) << 6);
    }
}

void put_f16(uint8_t* target, int lane, uint16_t bits) { std::memcpy(target + lane * 2, &bits, 2); }

// All of one row.
template <class Block>
void pack_row(const LinearLayout& layout, const void* source, int64_t k, int lanes, int lane,
              uint8_t* target) {
  constexpr bool kSuper = sizeof(Block) > sizeof(BlockQ8_0);
  constexpr int kBlocks = kSuper ? kSuperBlocks : 1;
  const auto* blocks = static_cast<const Block*>(source);
  Unpacked values;
  for (int64_t i = 0; i < k / (kBlock * kBlocks); ++i) {
    unpack(blocks[i], values);
    if (kSuper) {
      put_f16(target, lane, values.d);
      if (layout.has_min()) put_f16(target + 2 * lanes, lane, values.m);
      target += layout.super_bytes(lanes);
    }
    for (int b = 0; b < kBlocks; ++b, target += layout.block_bytes(lanes)) {
      place_quants(layout, values.q + b * kBlock, lanes, lane, target);
      uint8_t* scales = target + layout.quant_bytes(lanes);
      if (!kSuper) {
        put_f16(scales, lane, values.d);
        if (layout.has_min()) put_f16(scales + 2 * lanes, lane, values.m);
        continue;
      }
      for (int sub = 0; sub < layout.subs; ++sub) {
        scales[sub * lanes + lane] = values.scales[b * layout.subs + sub];
        if (layout.has_min())
          scales[(layout.subs + sub) * lanes + lane] = values.mins[b * layout.subs + sub];
      }
    }
  }
}

using PackRow = void (*)(const LinearLayout&, const void*, int64_t, int, int, uint8_t*);

PackRow row_packer(LinearForm form) {
  switch (form) {
    case LinearForm::kQ4_0:
      return pack_row<BlockQ4_0>;
    case LinearForm::kQ4_1:
      return pack_row<BlockQ4_1>;
    case LinearForm::kQ5_0:
      return pack_row<BlockQ5_0>;
    case LinearForm::kQ5_1:
      return pack_row<BlockQ5_1>;
    case LinearForm::kQ8_0:
      return pack_row<BlockQ8_0>;
    case LinearForm::kQ2_K:
      return pack_row<BlockQ2_K>;
    case LinearForm::kQ3_K:
      return pack_row<BlockQ3_K>;
    case LinearForm::kQ4_K:
      return pack_row<BlockQ4_K>;
    case LinearForm::kQ5_K:
      return pack_row<BlockQ5_K>;
    case LinearForm::kQ6_K:
      return pack_row<BlockQ6_K>;
    default:
      return nullptr;
  }
}

// `rows` rows of plain elements, side by side: target[k][lane] = source[lane][k].
template <class T>
void interleave(const T* const* rows, int count, int64_t k, int lanes, T* target) {
  constexpr int64_t kRun = 16;  // a cache line of each row at a time
  for (int64_t begin = 0; begin < k; begin += kRun) {
    const int64_t end = std::min(k, begin + kRun);
    for (int lane = 0; lane < count; ++lane)
      for (int64_t i = begin; i < end; ++i)
        std::memcpy(target + i * lanes + lane, rows[lane] + i, sizeof(T));
  }
}

void pack_plain_group(const TensorView& w, LinearForm form, int64_t first, int count, int lanes,
                      void* target, std::vector<float>& scratch) {
  constexpr int kMaxLanes = 16;
  BRAYTON_CHECK_LE(lanes, kMaxLanes);
  const int64_t k = w.dim(1);
  if (form != LinearForm::kF32) {
    const uint16_t* rows[kMaxLanes];
    for (int i = 0; i < count; ++i) rows[i] = w.row_as<const uint16_t>(first + i);
    return interleave(rows, count, k, lanes, static_cast<uint16_t*>(target));
  }
  const float* rows[kMaxLanes];
  if (w.dtype != DType::kF32) scratch.resize(static_cast<size_t>(lanes * k));
  for (int i = 0; i < count; ++i) {
    if (w.dtype == DType::kF32) {
      rows[i] = w.row_as<const float>(first + i);
      continue;
    }
    to_f32(w.dtype, w.row(first + i), k, scratch.data() + i * k);
    rows[i] = scratch.data() + i * k;
  }
  interleave(rows, count, k, lanes, static_cast<float*>(target));
}

}  // namespace

int64_t packed_linear_bytes(LinearForm form, int64_t n, int64_t k, int lanes) {
  return ceil_div(n, lanes) * linear_layout(form).group_bytes(k, lanes);
}

void pack_linear(ThreadPool& pool, const TensorView& w, LinearForm form, int lanes, void* target) {
  const int64_t n = w.dim(0), k = w.dim(1);
  const LinearLayout layout = linear_layout(form);
  const int64_t group_bytes = layout.group_bytes(k, lanes);
  const int64_t groups = ceil_div(n, lanes);
  const int64_t piece_groups = std::max<int64_t>(1, (int64_t{1} << 17) / group_bytes);
  const PackRow pack = row_packer(form);
  BRAYTON_CHECK_EQ(layout.plain(), pack == nullptr);
  std::vector<std::vector<float>> scratch(static_cast<size_t>(pool.threads()));
  pool.run(ceil_div(groups, piece_groups), [&](int64_t piece, int thread) {
    const int64_t end = std::min(groups, (piece + 1) * piece_groups);
    for (int64_t group = piece * piece_groups; group < end; ++group) {
      uint8_t* to = static_cast<uint8_t*>(target) + group * group_bytes;
      const int64_t first = group * lanes;
      const int count = static_cast<int>(std::min<int64_t>(lanes, n - first));
      if (layout.plain()) {
        pack_plain_group(w, form, first, count, lanes, to, scratch[static_cast<size_t>(thread)]);
        continue;
      }
      for (int lane = 0; lane < count; ++lane)
        pack(layout, w.row(first + lane), k, lanes, lane, to);
    }
  });
}

}  // namespace brayton::cpu
