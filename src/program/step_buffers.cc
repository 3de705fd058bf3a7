#include "program/step_buffers.h"

#include <algorithm>

#include "core/check.h"

namespace brayton {

StepBuffers::StepBuffers(Backend& backend, Stream& stream, const ProgramOptions& o,
                         int64_t max_blocks, const TensorView& sampled)
    : backend_(backend), packs_(backend.kernels().unpack_step != nullptr) {
  const int64_t table = o.max_sequences * max_blocks;
  const int64_t ints = 2 * o.max_tokens + o.max_logit_rows + 3 * o.max_sequences + 1 + table;
  constexpr int64_t kAlign = 64;  // ints
  memory_ = backend.allocate(static_cast<size_t>(ints + 8 * kAlign) * sizeof(int32_t));
  int64_t used = 0;
  const auto place = [&](const Shape& shape) {
    const TensorView view(static_cast<int32_t*>(memory_.data()) + used, DType::kI32, shape);
    used += (shape.elements() + kAlign - 1) / kAlign * kAlign;
    return view;
  };
  args_.token_ids = arrays_.token_ids = place({o.max_tokens});
  args_.positions = arrays_.positions = place({o.max_tokens});
  args_.logit_rows = arrays_.logit_rows = place({o.max_logit_rows});
  args_.query_offsets = arrays_.query_offsets = place({o.max_sequences + 1});
  args_.kv_lengths = arrays_.kv_lengths = place({o.max_sequences});
  args_.slots = arrays_.slots = place({o.max_sequences});
  args_.block_table = arrays_.block_table = place({o.max_sequences, max_blocks});
  args_.sampled = sampled;
  args_.scratch_block = static_cast<int32_t>(o.kv_blocks);
  if (!packs_) return;
  const size_t bytes = static_cast<size_t>(ints + 4) * sizeof(int32_t);
  packed_ = backend.allocate(bytes);
  args_.packed = {packed_.data(), DType::kI32, Shape{ints + 4}};
  for (int i = 0; i < kPieces; ++i) {
    pinned_[i] = backend.allocate_pinned(bytes);
    passed_[i] = stream.make_event();
  }
}

void StepBuffers::copy(Stream& stream, const StepInputs& inputs) {
  if (!packs_) return copy_one_by_one(inputs);
  passed_[piece_]->wait();
  auto* pinned = static_cast<int32_t*>(pinned_[piece_].data());
  stream.copy_to_device(packed_.data(), pinned, pack(inputs, pinned) * sizeof(int32_t));
  passed_[piece_]->record();
  piece_ = (piece_ + 1) % kPieces;
}

void StepBuffers::unpack(Stream& stream, const PaddedStep& step) {
  const int64_t sequences = step.sizes.sequences;
  if (packs_) {
    args_.tokens = step.sizes.tokens;
    args_.sequences = sequences;
    args_.rows = step.sizes.rows;
    backend_.kernels().unpack_step(stream, args_);
  }
  arrays_.query_offsets.shape[0] = sequences + 1;
  arrays_.kv_lengths.shape[0] = sequences;
  arrays_.slots.shape[0] = sequences;
  arrays_.block_table.shape[0] = sequences;
  arrays_.decodes = step.decodes;
}

// The layout of ops/unpack_step.h.
size_t StepBuffers::pack(const StepInputs& in, int32_t* const to) const {
  int32_t* at = to;
  for (int64_t size : {in.tokens(), in.sequences(), in.rows(), in.max_blocks})
    *at++ = static_cast<int32_t>(size);
  for (const auto* array :
       {&in.token_ids, &in.positions, &in.logit_rows, &in.query_offsets, &in.kv_lengths})
    at = std::copy(array->begin(), array->end(), at);
  if (in.slots.empty())
    at = std::fill_n(at, in.sequences(), -1);
  else
    at = std::copy(in.slots.begin(), in.slots.end(), at);
  at = std::copy(in.block_table.begin(), in.block_table.end(), at);
  return static_cast<size_t>(at - to);
}

void StepBuffers::copy_one_by_one(const StepInputs& in) {
  const auto copy = [&](const TensorView& to, const std::vector<int32_t>& from) {
    if (!from.empty()) backend_.copy_to_device(to.data, from.data(), from.size() * sizeof(int32_t));
  };
  copy(arrays_.token_ids, in.token_ids);
  for (int64_t t = 0; t < in.tokens(); ++t)
    if (int32_t& id = arrays_.token_ids.as<int32_t>()[t]; id < 0)
      id = args_.sampled.as<int32_t>()[-id - 1];
  copy(arrays_.positions, in.positions);
  copy(arrays_.logit_rows, in.logit_rows);
  copy(arrays_.query_offsets, in.query_offsets);
  copy(arrays_.kv_lengths, in.kv_lengths);
  copy(arrays_.slots, in.slots);
  // Rows as wide as the step's table.
  copy(arrays_.block_table, in.block_table);
  arrays_.block_table.shape[1] = arrays_.block_table.strides[0] = in.max_blocks;
}

}  // namespace brayton
