#include "program/program.h"

#include <algorithm>
#include <map>
#include <optional>

#include "core/check.h"
#include "core/checked_math.h"
#include "engine/arena.h"
#include "ops/quant_blocks.h"
#include "program/bind.h"
#include "program/check_step.h"
#include "program/device_plan.h"
#include "program/memory_plan.h"
#include "program/step_buffers.h"
#include "program/weights.h"

namespace brayton {
namespace {

// Sizes that decode steps are captured for; a step is padded to the next.
std::vector<int64_t> capture_sizes(int64_t max_sequences) {
  std::vector<int64_t> sizes;
  for (int64_t size = 1; size < max_sequences; size += size < 2     ? 1
                                                       : size < 8   ? size
                                                       : size < 32  ? 8
                                                       : size < 64  ? 16
                                                       : size < 128 ? 32
                                                                    : 64)
    sizes.push_back(size);
  sizes.push_back(max_sequences);
  return sizes;
}

// Token counts whose launches need between them every kernel that any step needs: launchers choose
// by sizes rounded up to these.
std::vector<int64_t> planned_tokens(int64_t max_tokens) {
  std::vector<int64_t> sizes;
  for (int64_t size = 1; size < max_tokens; size += std::max<int64_t>(1, size / 8))
    sizes.push_back(size);
  sizes.push_back(max_tokens);
  return sizes;
}

class LoadedProgram final : public Program {
 public:
  LoadedProgram(std::shared_ptr<const Engine> engine, Backend& backend,
                const ProgramOptions& options)
      : engine_(std::move(engine)),
        plan_(plan_for_device(engine_->plan, backend.fusions())),
        backend_(backend),
        options_(options),
        memory_(brayton::plan_memory(*engine_, plan_, backend, options_)) {}

  void load(const std::function<void(int64_t, int64_t)>& progress);
  KernelImages compile_kernels(const std::function<void(int64_t, int64_t)>& progress);

  const Engine& engine() const override { return *engine_; }
  const ProgramOptions& options() const override { return options_; }
  const MemoryPlan& memory() const override { return memory_; }
  bool samples_on_device() const override { return backend_.kernels().sample != nullptr; }
  Backend& backend() const override { return backend_; }
  Stream& stream() const override { return *stream_; }
  void launch(const StepInputs& inputs) override;
  TensorView device_logits() const override { return slots_.at(plan_.logits).at(sizes_); }
  TensorView host_logits() override;
  TensorView device_sampled() const override { return sampled_view_; }
  std::vector<std::pair<std::string, double>> take_profile() override;

 private:
  void place();
  void place_activations();
  void bind_steps();
  void plan_launches();
  void capture();
  void launch_all(const PaddedStep& step);
  void launch_profiled(const PaddedStep& step);

  std::shared_ptr<const Engine> engine_;
  Plan plan_;  // as the device carries it out
  Backend& backend_;
  ProgramOptions options_;
  MemoryPlan memory_;
  std::unique_ptr<Stream> stream_;
  Weights weights_;
  Buffer arena_, sampled_;
  TensorView sampled_view_;
  std::vector<Buffer> caches_;
  std::optional<StepBuffers> buffers_;
  std::vector<Slot> slots_;
  std::vector<TensorView> cache_views_;
  std::vector<Launch> launches_;
  std::map<int64_t, std::unique_ptr<Replay>> replays_;  // by sequences of a decode step
  StepSizes sizes_;                                     // of the last step
  std::vector<float> host_logits_;
  std::vector<std::byte> raw_logits_;
  std::vector<double> times_;                   // by launch, seconds
  std::vector<std::unique_ptr<Event>> events_;  // before each launch and after the last
};

void LoadedProgram::place() {
  const ProgramOptions& o = options_;
  stream_ = backend_.make_stream();
  const bool pads = backend_.kernels().unpack_step != nullptr;
  const Shape cache_shape{o.kv_blocks + (pads ? 1 : 0), 2, plan_.kv_heads, o.kv_block_size,
                          plan_.head_dim};
  for (int64_t layer = 0; layer < plan_.attentions; ++layer) {
    const Buffer& cache =
        caches_.emplace_back(backend_.allocate(storage_bytes(plan_.dtype, cache_shape)));
    cache_views_.emplace_back(cache.data(), plan_.dtype, cache_shape);
  }
  sampled_ = backend_.allocate(static_cast<size_t>(o.max_sequences) * sizeof(int32_t));
  sampled_view_ = {sampled_.data(), DType::kI32, Shape{o.max_sequences}};
  buffers_.emplace(backend_, *stream_, o, table_columns(*engine_, o), sampled_view_);
  place_activations();
}

void LoadedProgram::load(const std::function<void(int64_t, int64_t)>& progress) {
  place();
  backend_.add_kernel_images(engine_->kernels);
  weights_.load(*engine_, plan_, backend_, *stream_, progress);
  bind_steps();
  if (backend_.begin_planning()) {
    plan_launches();
    backend_.end_planning({});
  }
  capture();
}

KernelImages LoadedProgram::compile_kernels(const std::function<void(int64_t, int64_t)>& progress) {
  if (!backend_.begin_planning()) return {};
  place();
  weights_.reserve(plan_, backend_, *stream_);
  bind_steps();
  plan_launches();
  backend_.end_planning(progress);
  return backend_.kernel_images();
}

void LoadedProgram::place_activations() {
  const auto storage = [&](DType nominal) { return backend_.activation_dtype(nominal); };
  const StepSizes largest = largest_step(options_);
  const ArenaLayout layout = lay_out_arena(plan_, largest, storage);
  arena_ = backend_.allocate(layout.bytes);

  const auto device_type = [&](const ValueType& type) {
    return is_float(type.dtype) ? storage(type.dtype) : type.dtype;
  };
  slots_.resize(plan_.values.size());
  for (size_t id = 0; id < plan_.values.size(); ++id) {
    const PlanValue& value = plan_.values[id];
    const char symbol = value.type.rank() > 0 ? value.type.dims[0].symbol : '\0';
    if (value.kind == PlanValue::Kind::kActivation && layout.offsets.at(id) >= 0) {
      slots_[id] = {{static_cast<std::byte*>(arena_.data()) + layout.offsets[id],
                     device_type(value.type), value.type.shape(largest)},
                    symbol};
    } else if (value.kind == PlanValue::Kind::kView && slots_.at(value.base).view) {
      const Slot& base = slots_[value.base];
      BRAYTON_CHECK(base.view.rank() == 2);
      slots_[id] = {base.view.slice(1, value.begin, value.begin + value.type.dims.at(1).size),
                    symbol};
    }
  }
}

void LoadedProgram::bind_steps() {
  const StepArrays& arrays = buffers_->arrays();
  const std::map<std::string, TensorView> named = {{"token_ids", arrays.token_ids},
                                                   {"positions", arrays.positions},
                                                   {"logit_rows", arrays.logit_rows}};
  for (size_t id = 0; id < plan_.values.size(); ++id) {
    const PlanValue& value = plan_.values[id];
    if (value.kind != PlanValue::Kind::kInput) continue;
    const auto it = named.find(value.name);
    if (it == named.end() || value.type.rank() != 1 || value.type.dtype != DType::kI32)
      throw_error(ErrorCode::kInvalidModel, "[plan] input '{}' {} is none that a step has",
                  value.name, value.type.str());
    slots_[id] = {it->second, value.type.dims[0].symbol};
  }
  const BindContext context{plan_, backend_.kernels(), weights_, arrays, slots_, cache_views_};
  for (const Instruction& instruction : plan_.steps)
    launches_.push_back(bind(context, instruction));
  times_.assign(launches_.size(), 0.0);
}

// Launches steps of every kind while the backend only notes what they need.
void LoadedProgram::plan_launches() {
  for (int64_t size : capture_sizes(options_.max_sequences)) launch_all({{size, size, size}, size});
  for (int64_t tokens : planned_tokens(options_.max_tokens)) {
    launch_all({{tokens, 1, 1}, 0});
    const int64_t decodes = std::min(tokens, options_.max_sequences) - 1;
    if (decodes > 0) launch_all({{tokens, decodes + 1, decodes + 1}, decodes});
  }
}

void LoadedProgram::capture() {
  if (!options_.capture || options_.profile || !backend_.kernels().unpack_step) return;
  for (int64_t size : capture_sizes(options_.max_sequences)) {
    stream_->begin_capture();
    launch_all({{size, size, size}, size});
    replays_[size] = stream_->end_capture();
  }
}

void LoadedProgram::launch_all(const PaddedStep& step) {
  buffers_->unpack(*stream_, step);
  for (const Launch& launch : launches_) launch(*stream_, step.sizes);
}

void LoadedProgram::launch_profiled(const PaddedStep& step) {
  while (events_.size() <= launches_.size()) events_.push_back(stream_->make_event());
  buffers_->unpack(*stream_, step);
  stream_->synchronize();
  for (size_t i = 0; i < launches_.size(); ++i) {
    events_[i]->record();
    launches_[i](*stream_, step.sizes);
  }
  events_.back()->record();
  stream_->synchronize();
  for (size_t i = 0; i < launches_.size(); ++i)
    times_[i] += events_[i + 1]->seconds_since(*events_[i]);
}

void LoadedProgram::launch(const StepInputs& inputs) {
  check_step(inputs, *engine_, options_);
  buffers_->copy(*stream_, inputs);
  sizes_ = {inputs.tokens(), inputs.rows(), inputs.sequences()};
  PaddedStep step{sizes_, inputs.decodes};
  if (options_.profile) return launch_profiled(step);
  const bool decode = inputs.decodes == inputs.tokens() && inputs.decodes == inputs.sequences() &&
                      inputs.decodes == inputs.rows();
  const auto replay = decode ? replays_.lower_bound(inputs.decodes) : replays_.end();
  if (replay == replays_.end() || !replay->second) return launch_all(step);
  replay->second->launch();
}

TensorView LoadedProgram::host_logits() {
  const TensorView logits = device_logits();
  stream_->synchronize();
  if (backend_.shares_host_memory()) {
    BRAYTON_CHECK(logits.dtype == DType::kF32);
    return logits;
  }
  host_logits_.resize(static_cast<size_t>(logits.elements()));
  raw_logits_.resize(static_cast<size_t>(logits.bytes()));
  backend_.copy_to_host(raw_logits_.data(), logits.data, raw_logits_.size());
  to_f32(logits.dtype, raw_logits_.data(), logits.elements(), host_logits_.data());
  return {host_logits_.data(), DType::kF32, logits.shape};
}

std::vector<std::pair<std::string, double>> LoadedProgram::take_profile() {
  std::vector<std::pair<std::string, double>> result;
  if (!options_.profile) return result;
  std::map<std::string, double> by_op;
  for (size_t i = 0; i < times_.size(); ++i)
    by_op[profile_name(plan_, plan_.steps[i])] += std::exchange(times_[i], 0.0);
  result.assign(by_op.begin(), by_op.end());
  std::sort(result.begin(), result.end(),
            [](const auto& a, const auto& b) { return a.second > b.second; });
  return result;
}

}  // namespace

MemoryPlan Program::plan_memory(const Engine& engine, const Backend& backend,
                                const ProgramOptions& options) {
  ProgramOptions filled = options;
  const MemoryPlan memory = brayton::plan_memory(
      engine, plan_for_device(engine.plan, backend.fusions()), backend, filled);
  check_room(memory, backend);
  return memory;
}

std::unique_ptr<Program> Program::load(std::shared_ptr<const Engine> engine, Backend& backend,
                                       const ProgramOptions& options,
                                       const std::function<void(int64_t, int64_t)>& progress) {
  auto program = std::make_unique<LoadedProgram>(std::move(engine), backend, options);
  check_room(program->memory(), backend);
  program->load(progress);
  return program;
}

KernelImages Program::compile_kernels(const Engine& engine, Backend& backend,
                                      const ProgramOptions& options,
                                      const std::function<void(int64_t, int64_t)>& progress) {
  // Borrowed: the program ends with this call.
  const std::shared_ptr<const Engine> borrowed(std::shared_ptr<const Engine>(), &engine);
  ProgramOptions any_size = options;  // kernels do not depend on how much the device holds
  if (any_size.kv_blocks == 0) any_size.kv_blocks = 1024;
  return LoadedProgram(borrowed, backend, any_size).compile_kernels(progress);
}

}  // namespace brayton
