#include "program/program.h"

#include <algorithm>
#include <chrono>
#include <map>

#include "core/check.h"
#include "core/checked_math.h"
#include "engine/arena.h"
#include "program/bind.h"
#include "program/weights.h"

namespace brayton {
namespace {

constexpr int64_t kDefaultKvBytes = int64_t{1} << 30;

StepSizes largest_step(const ProgramOptions& options) {
  return {options.max_tokens, options.max_logit_rows, options.max_sequences};
}

int64_t kv_block_bytes(const Plan& plan, int64_t block_size) {
  return storage_bytes(plan.dtype, {2, plan.kv_heads, block_size, plan.head_dim});
}

// The cache's blocks: as asked, or what the batch needs within the default budget.
int64_t choose_kv_blocks(const Engine& engine, const ProgramOptions& options) {
  if (options.kv_blocks > 0) return options.kv_blocks;
  const int64_t of_all_layers = std::max<int64_t>(
      1, engine.plan.attentions * kv_block_bytes(engine.plan, options.kv_block_size));
  const int64_t per_sequence =
      ceil_div(std::max<int64_t>(1, engine.model.max_positions), options.kv_block_size);
  int64_t blocks = options.kv_bytes / of_all_layers;
  if (options.kv_bytes == 0) {
    blocks = std::min(per_sequence * options.max_sequences, kDefaultKvBytes / of_all_layers);
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
}

struct OpTime {
  std::string op;
  double seconds = 0;
};

class LoadedProgram final : public Program {
 public:
  LoadedProgram(std::shared_ptr<const Engine> engine, Backend& backend, ProgramOptions options)
      : engine_(std::move(engine)), backend_(backend), options_(std::move(options)) {}

  void load(const std::function<void(int64_t, int64_t)>& progress);

  const Engine& engine() const override { return *engine_; }
  const ProgramOptions& options() const override { return options_; }
  const MemoryPlan& memory() const override { return memory_; }
  TensorView run(const StepInputs& inputs) override;
  std::vector<std::pair<std::string, double>> take_profile() override;

 private:
  void place_activations();
  void bind_steps();
  void check(const StepInputs& inputs) const;
  void send(const StepInputs& inputs);

  std::shared_ptr<const Engine> engine_;
  Backend& backend_;
  ProgramOptions options_;
  MemoryPlan memory_;
  std::unique_ptr<Stream> stream_;
  Weights weights_;
  Buffer arena_, inputs_;
  std::vector<Buffer> caches_;
  StepArrays arrays_;
  std::vector<Slot> slots_;
  std::vector<TensorView> cache_views_;
  std::vector<Launch> launches_;
  std::vector<OpTime> times_;  // by launch
};

void LoadedProgram::load(const std::function<void(int64_t, int64_t)>& progress) {
  options_.kv_blocks = choose_kv_blocks(*engine_, options_);
  memory_ = plan_memory(*engine_, backend_, options_);
  stream_ = backend_.make_stream();
  weights_.load(*engine_, backend_, *stream_, progress);

  const Plan& plan = engine_->plan;
  const Shape cache_shape{options_.kv_blocks, 2, plan.kv_heads, options_.kv_block_size,
                          plan.head_dim};
  for (int64_t layer = 0; layer < plan.attentions; ++layer) {
    const Buffer& cache =
        caches_.emplace_back(backend_.allocate(storage_bytes(plan.dtype, cache_shape)));
    cache_views_.emplace_back(cache.data(), plan.dtype, cache_shape);
  }
  place_activations();
  bind_steps();
}

void LoadedProgram::place_activations() {
  const Plan& plan = engine_->plan;
  const StepSizes largest = largest_step(options_);
  const auto storage = [&](DType nominal) { return backend_.activation_dtype(nominal); };
  const ArenaLayout layout = lay_out_arena(plan, largest, storage);
  arena_ = backend_.allocate(layout.bytes);

  const auto device_type = [&](const ValueType& type) {
    return is_float(type.dtype) ? storage(type.dtype) : type.dtype;
  };
  slots_.resize(plan.values.size());
  for (size_t id = 0; id < plan.values.size(); ++id) {
    const PlanValue& value = plan.values[id];
    const char symbol = value.type.rank() > 0 ? value.type.dims[0].symbol : '\0';
    if (value.kind == PlanValue::Kind::kActivation) {
      BRAYTON_CHECK_GE(layout.offsets.at(id), 0);
      slots_[id] = {{static_cast<std::byte*>(arena_.data()) + layout.offsets[id],
                     device_type(value.type), value.type.shape(largest)},
                    symbol};
    } else if (value.kind == PlanValue::Kind::kView) {
      const Slot& base = slots_.at(value.base);
      BRAYTON_CHECK(base.view && base.view.rank() == 2);
      slots_[id] = {base.view.slice(1, value.begin, value.begin + value.type.dims.at(1).size),
                    symbol};
    }
  }
}

void LoadedProgram::bind_steps() {
  const Plan& plan = engine_->plan;
  const ProgramOptions& o = options_;
  // The largest block table a step can need: every block of the cache, once a sequence.
  const int64_t ints =
      2 * o.max_tokens + o.max_logit_rows + 2 * o.max_sequences + 1 + o.max_sequences * o.kv_blocks;
  inputs_ = backend_.allocate(ints * sizeof(int32_t));
  // Fixed places, so that launches may be captured; send() fills them.
  int64_t used = 0;
  const auto place = [&](int64_t count) {
    const TensorView view(static_cast<int32_t*>(inputs_.data()) + used, DType::kI32, Shape{count});
    used += count;
    return view;
  };
  arrays_.token_ids = place(o.max_tokens);
  arrays_.positions = place(o.max_tokens);
  arrays_.logit_rows = place(o.max_logit_rows);
  arrays_.query_offsets = place(o.max_sequences + 1);
  arrays_.kv_lengths = place(o.max_sequences);
  arrays_.block_table = place(o.max_sequences * o.kv_blocks);

  const std::map<std::string, TensorView> named = {{"token_ids", arrays_.token_ids},
                                                   {"positions", arrays_.positions},
                                                   {"logit_rows", arrays_.logit_rows}};
  for (size_t id = 0; id < plan.values.size(); ++id) {
    const PlanValue& value = plan.values[id];
    if (value.kind != PlanValue::Kind::kInput) continue;
    const auto it = named.find(value.name);
    if (it == named.end() || value.type.rank() != 1 || value.type.dtype != DType::kI32)
      throw_error(ErrorCode::kInvalidModel, "[plan] input '{}' {} is none that a step has",
                  value.name, value.type.str());
    slots_[id] = {it->second, value.type.dims[0].symbol};
  }
  const BindContext context{plan, backend_.kernels(), weights_, arrays_, slots_, cache_views_};
  for (const Instruction& instruction : plan.steps) {
    launches_.push_back(bind(context, instruction));
    times_.push_back({instruction.op, 0});
  }
}

void LoadedProgram::check(const StepInputs& in) const {
  const auto within = [](const char* name, int64_t got, int64_t low, int64_t high) {
    if (got < low || got > high)
      throw_error(ErrorCode::kInvalidArgument, "[step] {} must be in [{}, {}], got {}", name, low,
                  high, got);
  };
  within("tokens", in.tokens(), 1, options_.max_tokens);
  within("sequences", in.sequences(), 1, options_.max_sequences);
  within("logit rows", in.rows(), 0, options_.max_logit_rows);
  within("positions", static_cast<int64_t>(in.positions.size()), in.tokens(), in.tokens());
  within("query offsets", static_cast<int64_t>(in.query_offsets.size()), in.sequences() + 1,
         in.sequences() + 1);
  within("max_blocks", in.max_blocks, 1, options_.kv_blocks);
  within("block table entries", static_cast<int64_t>(in.block_table.size()),
         in.sequences() * in.max_blocks, in.sequences() * in.max_blocks);
  within("first query offset", in.query_offsets.front(), 0, 0);
  within("last query offset", in.query_offsets.back(), in.tokens(), in.tokens());
  for (int64_t s = 0; s < in.sequences(); ++s) {
    const int64_t tokens = in.query_offsets[s + 1] - in.query_offsets[s];
    within("tokens of a sequence", tokens, 1, in.tokens());
    within("kv length", in.kv_lengths[s], tokens, in.max_blocks * options_.kv_block_size);
    const int64_t used = ceil_div(in.kv_lengths[s], options_.kv_block_size);
    for (int64_t b = 0; b < used; ++b)
      within("block", in.block_table[s * in.max_blocks + b], 0, options_.kv_blocks - 1);
    const int64_t first = in.kv_lengths[s] - tokens;
    for (int64_t t = 0; t < tokens; ++t)
      within("position", in.positions[in.query_offsets[s] + t], first + t, first + t);
  }
  within("last position", *std::max_element(in.kv_lengths.begin(), in.kv_lengths.end()), 1,
         engine_->model.max_positions);
  for (int32_t id : in.token_ids) within("token id", id, 0, engine_->model.vocab_size - 1);
  for (int32_t row : in.logit_rows) within("logit row", row, 0, in.tokens() - 1);
}

void LoadedProgram::send(const StepInputs& in) {
  const auto copy = [&](const TensorView& to, const std::vector<int32_t>& from) {
    if (!from.empty()) backend_.copy_to_device(to.data, from.data(), from.size() * sizeof(int32_t));
  };
  copy(arrays_.token_ids, in.token_ids);
  copy(arrays_.positions, in.positions);
  copy(arrays_.logit_rows, in.logit_rows);
  copy(arrays_.query_offsets, in.query_offsets);
  copy(arrays_.kv_lengths, in.kv_lengths);
  copy(arrays_.block_table, in.block_table);
  const int64_t sequences = in.sequences();
  arrays_.query_offsets = {arrays_.query_offsets.data, DType::kI32, Shape{sequences + 1}};
  arrays_.kv_lengths = {arrays_.kv_lengths.data, DType::kI32, Shape{sequences}};
  arrays_.block_table = {arrays_.block_table.data, DType::kI32, Shape{sequences, in.max_blocks}};
}

TensorView LoadedProgram::run(const StepInputs& inputs) {
  check(inputs);
  send(inputs);
  const StepSizes sizes{inputs.tokens(), inputs.rows(), inputs.sequences()};
  if (options_.profile) {
    for (size_t i = 0; i < launches_.size(); ++i) {
      const auto start = std::chrono::steady_clock::now();
      launches_[i](*stream_, sizes);
      stream_->synchronize();
      times_[i].seconds +=
          std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }
  } else {
    for (const Launch& launch : launches_) launch(*stream_, sizes);
  }
  stream_->synchronize();
  return slots_.at(engine_->plan.logits).at(sizes);
}

std::vector<std::pair<std::string, double>> LoadedProgram::take_profile() {
  std::vector<std::pair<std::string, double>> result;
  if (!options_.profile) return result;
  std::map<std::string, double> by_op;
  for (OpTime& time : times_) by_op[time.op] += std::exchange(time.seconds, 0.0);
  result.assign(by_op.begin(), by_op.end());
  std::sort(result.begin(), result.end(),
            [](const auto& a, const auto& b) { return a.second > b.second; });
  return result;
}

}  // namespace

MemoryPlan Program::plan_memory(const Engine& engine, const Backend& backend,
                                const ProgramOptions& options) {
  check_options(options);
  const Plan& plan = engine.plan;
  const ArenaLayout layout = lay_out_arena(plan, largest_step(options), [&](DType nominal) {
    return backend.activation_dtype(nominal);
  });
  MemoryPlan memory;
  memory.weights = Weights::planned_bytes(engine, backend);
  memory.kv = plan.attentions * choose_kv_blocks(engine, options) *
              kv_block_bytes(plan, options.kv_block_size);
  memory.activations = layout.bytes;
  memory.activations_unshared = layout.unshared_bytes;
  return memory;
}

std::unique_ptr<Program> Program::load(std::shared_ptr<const Engine> engine, Backend& backend,
                                       const ProgramOptions& options,
                                       const std::function<void(int64_t, int64_t)>& progress) {
  check_options(options);
  auto program = std::make_unique<LoadedProgram>(std::move(engine), backend, options);
  program->load(progress);
  return program;
}

}  // namespace brayton
