#include "program/memory_plan.h"

#include <algorithm>

#include "core/checked_math.h"
#include "core/format.h"
#include "engine/arena.h"
#include "program/weights.h"

namespace brayton {
namespace {

constexpr int64_t kDefaultKvBytes = int64_t{1} << 30;
// For captured launches, modules and work space of kernels.
constexpr int64_t kDeviceReserve = int64_t{1} << 30;

int64_t kv_block_bytes(const Plan& plan, int64_t block_size) {
  return storage_bytes(plan.dtype, {2, plan.kv_heads, block_size, plan.head_dim});
}

int64_t per_sequence_blocks(const Engine& engine, int64_t block_size) {
  return ceil_div(std::max<int64_t>(1, engine.model.max_positions), block_size);
}

// Bytes that the cache may take when nobody said: on a device what the rest leaves of it.
int64_t kv_budget(const MemoryPlan& rest, const Backend& backend, const ProgramOptions& options) {
  if (backend.shares_host_memory()) return kDefaultKvBytes;
  const auto budget =
      static_cast<int64_t>(options.memory_fraction * static_cast<double>(backend.free_bytes()));
  const int64_t left = budget - rest.total() - kDeviceReserve;
  if (left > 0) return left;
  throw_error(ErrorCode::kResourceExhausted,
              "[program] weights {} MiB, activations {} MiB, inputs {} MiB and {} MiB in reserve "
              "must leave room for the cache in {} MiB (memory fraction {}): {} MiB too many; use "
              "a smaller model, --max-num-tokens or --max-batch-size",
              rest.weights >> 20, rest.activations >> 20, rest.inputs >> 20, kDeviceReserve >> 20,
              budget >> 20, options.memory_fraction, -left >> 20);
}

// The cache's blocks: as asked, or what the batch needs within the budget.
int64_t choose_kv_blocks(const Engine& engine, const MemoryPlan& rest, const Backend& backend,
                         const ProgramOptions& options) {
  if (options.kv_blocks > 0) return options.kv_blocks;
  const int64_t of_all_layers = std::max<int64_t>(
      1, engine.plan.attentions * kv_block_bytes(engine.plan, options.kv_block_size));
  const int64_t per_sequence = per_sequence_blocks(engine, options.kv_block_size);
  int64_t blocks = options.kv_bytes / of_all_layers;
  if (options.kv_bytes == 0) {
    blocks = std::min(per_sequence * options.max_sequences,
                      kv_budget(rest, backend, options) / of_all_layers);
    blocks = std::max(blocks, std::min<int64_t>(per_sequence, 4));
  }
  if (blocks < 1)
    throw_error(ErrorCode::kInvalidArgument,
                "[program] kv_bytes must be at least {} (one block of {} tokens), got {}",
                of_all_layers, options.kv_block_size, options.kv_bytes);
  return blocks;
}

void check_options(const ProgramOptions& o) {
  const auto at_least_one = [](const char* name, int64_t value) {
    if (value < 1)
      throw_error(ErrorCode::kInvalidArgument, "[program] {} must be at least 1, got {}", name,
                  value);
  };
  at_least_one("max_tokens", o.max_tokens);
  at_least_one("max_sequences", o.max_sequences);
  at_least_one("max_logit_rows", o.max_logit_rows);
  at_least_one("kv_block_size", o.kv_block_size);
  if (!(o.memory_fraction > 0.0 && o.memory_fraction <= 1.0))
    throw_error(ErrorCode::kInvalidArgument, "[program] memory_fraction must be in (0, 1], got {}",
                o.memory_fraction);
}

}  // namespace

StepSizes largest_step(const ProgramOptions& options) {
  return {options.max_tokens, options.max_logit_rows, options.max_sequences};
}

int64_t table_columns(const Engine& engine, const ProgramOptions& options) {
  return std::min(options.kv_blocks, per_sequence_blocks(engine, options.kv_block_size));
}

MemoryPlan plan_memory(const Engine& engine, const Plan& plan, const Backend& backend,
                       ProgramOptions& options) {
  check_options(options);
  const ArenaLayout layout = lay_out_arena(plan, largest_step(options), [&](DType nominal) {
    return backend.activation_dtype(nominal);
  });
  MemoryPlan memory;
  memory.weights = Weights::planned_bytes(plan, backend);
  memory.activations = layout.bytes;
  memory.activations_unshared = layout.unshared_bytes;
  // The table is sent packed and spread out: twice.
  memory.inputs =
      2 * 4 *
      (2 * options.max_tokens + options.max_logit_rows +
       options.max_sequences * (4 + per_sequence_blocks(engine, options.kv_block_size)));
  options.kv_blocks = choose_kv_blocks(engine, memory, backend, options);
  memory.kv = plan.attentions * options.kv_blocks * kv_block_bytes(plan, options.kv_block_size);
  return memory;
}

void check_room(const MemoryPlan& memory, const Backend& backend) {
  if (backend.shares_host_memory()) return;
  const int64_t over = memory.total() - backend.free_bytes();
  if (over <= 0) return;
  const bool cache = memory.kv > over;
  throw_error(ErrorCode::kResourceExhausted,
              "[program] weights {} MiB, cache {} MiB, activations {} MiB and inputs {} MiB must "
              "fit the device's {} MiB free: shrink the {} by {} MiB ({})",
              memory.weights >> 20, memory.kv >> 20, memory.activations >> 20, memory.inputs >> 20,
              backend.free_bytes() >> 20, cache ? "cache" : "model or its steps", (over >> 20) + 1,
              cache ? format("--kv-bytes {}", memory.kv - over)
                    : "a smaller model, --max-num-tokens or --max-batch-size");
}

std::string profile_name(const Plan& plan, const Instruction& instruction) {
  if (instruction.op != "linear") return instruction.op;
  return format("linear {}", plan.values.at(instruction.inputs.at(1)).type.str());
}

}  // namespace brayton
