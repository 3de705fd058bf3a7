#include "program/weights.h"

#include <deque>

#include "core/check.h"
#include "core/checked_math.h"
#include "ops/load_ops.h"
#include "ops/quant_blocks.h"

namespace brayton {
namespace {

bool is_constant_kind(PlanValue::Kind kind) {
  return kind == PlanValue::Kind::kWeight || kind == PlanValue::Kind::kConstant ||
         kind == PlanValue::Kind::kLoaded;
}

// Evaluates constants on the host. Results are views of the checkpoint where no byte moves.
class HostConstants {
 public:
  HostConstants(const Engine& engine, const Plan& plan) : engine_(engine), plan_(plan) {
    for (const Instruction& instruction : plan.load)
      producers_[instruction.outputs.at(0)] = &instruction;
  }

  // The result lives until clear(). `sources` collects the checkpoint tensors it was made of.
  TensorView evaluate(PlanValueId id, std::vector<TensorView>& sources) {
    const PlanValue& value = plan_.values.at(id);
    switch (value.kind) {
      case PlanValue::Kind::kWeight:
        return find(value, sources);
      case PlanValue::Kind::kConstant:
        return {value.numbers.data(), DType::kF32, value.type.shape()};
      default:
        break;
    }
    const auto producer = producers_.find(id);
    if (producer == producers_.end())
      throw_error(ErrorCode::kInvalidModel, "[plan] value {} must be made by a load instruction",
                  id);
    const Instruction& instruction = *producer->second;
    std::vector<TensorView> inputs;
    for (PlanValueId input : instruction.inputs) inputs.push_back(evaluate(input, sources));
    return evaluate_load_op(instruction.op, inputs, instruction.attributes,
                            storage_.emplace_back());
  }

  void clear() { storage_.clear(); }

 private:
  TensorView find(const PlanValue& value, std::vector<TensorView>& sources) const {
    const auto it = engine_.weights.find(value.name);
    if (it == engine_.weights.end())
      throw_error(ErrorCode::kInvalidModel, "[plan] weight '{}' is not in the engine", value.name);
    const TensorView& tensor = it->second;
    if (tensor.dtype != value.type.dtype || !(tensor.shape == value.type.shape()))
      throw_error(ErrorCode::kInvalidModel, "[plan] weight '{}' must be {}, got {}{}", value.name,
                  value.type.str(), dtype_name(tensor.dtype), tensor.shape.str());
    sources.push_back(tensor);
    return tensor;
  }

  const Engine& engine_;
  const Plan& plan_;
  std::map<PlanValueId, const Instruction*> producers_;
  std::deque<std::vector<std::byte>> storage_;
};

LinearDesc describe(const Plan& plan, const PlanValue& value) {
  const Shape shape = value.type.shape();
  if (shape.rank() != 2)
    throw_error(ErrorCode::kInvalidModel, "[plan] a linear weight must be a matrix, got {}",
                value.type.str());
  return {value.type.dtype, shape[0], shape[1], plan.dtype};
}

std::vector<float> as_floats(const TensorView& tensor) {
  BRAYTON_CHECK(tensor.contiguous());
  std::vector<float> numbers(tensor.elements());
  to_f32(tensor.dtype, tensor.data, tensor.elements(), numbers.data());
  return numbers;
}

}  // namespace

std::map<PlanValueId, WeightUse> weight_uses(const Plan& plan) {
  std::map<PlanValueId, WeightUse> uses;
  for (const Instruction& step : plan.steps) {
    for (size_t i = 0; i < step.inputs.size(); ++i) {
      const PlanValueId id = step.inputs[i];
      if (id < 0 || !is_constant_kind(plan.values.at(id).kind)) continue;
      if (step.op == "linear" && i == 1) {
        uses[id].tactic = step.tactic;
      } else if (step.op == "embedding" && i == 1) {
        uses[id].as_table = true;
      } else if (plan.values[id].type.rank() == 1 && i >= 1) {
        uses[id].as_vector = true;
      } else {
        throw_error(ErrorCode::kInvalidModel,
                    "[plan] op '{}' must not read constant {} as input {}", step.op,
                    plan.values[id].type.str(), i);
      }
    }
  }
  return uses;
}

int64_t Weights::planned_bytes(const Plan& plan, const Backend& backend) {
  int64_t bytes = 0;
  for (const auto& [id, use] : weight_uses(plan)) {
    const PlanValue& value = plan.values[id];
    if (!use.tactic.empty()) bytes += backend.packed_bytes(describe(plan, value), use.tactic);
    if (use.as_vector) bytes += round_up(value.type.shape().elements() * 4, 64);
    const bool in_place = value.kind == PlanValue::Kind::kWeight && backend.shares_host_memory();
    // A table that is a matrix as well lies there once where the device keeps matrices as they are.
    const bool in_matrix = !use.tactic.empty() && !backend.shares_host_memory();
    if (use.as_table && !in_place && !in_matrix)
      bytes += storage_bytes(backend.table_dtype(value.type.dtype, plan.dtype), value.type.shape());
  }
  return bytes;
}

TensorView Weights::upload(Backend& backend, const TensorView& host) {
  BRAYTON_CHECK(host.contiguous());
  const Buffer& buffer = buffers_.emplace_back(backend.allocate(host.bytes()));
  if (host.data) backend.copy_to_device(buffer.data(), host.data, host.bytes());
  return {buffer.data(), host.dtype, host.shape};
}

void Weights::place(PlanValueId id, const Plan& plan, const WeightUse& use, const TensorView& host,
                    Backend& backend, Stream& stream) {
  DeviceWeight& weight = weights_[id];
  if (!use.tactic.empty()) weight.packed = backend.pack_linear(stream, host, use.tactic);
  if (use.as_table) {
    const DType dtype = backend.table_dtype(host.dtype, plan.dtype);
    const TensorView matrix = weight.packed ? weight.packed->rows() : TensorView{};
    if (plan.values[id].kind == PlanValue::Kind::kWeight && backend.shares_host_memory()) {
      weight.raw = host;
    } else if (matrix.rank() == 2) {
      weight.raw = matrix;
    } else if (dtype != host.dtype) {
      weight.table = backend.pack_linear(stream, host, std::string(dtype_name(dtype)));
      weight.raw = weight.table->rows();
    } else {
      weight.raw = upload(backend, host);
    }
  }
  if (use.as_vector) {
    const std::vector<float> numbers = host.data ? as_floats(host) : std::vector<float>();
    weight.vector =
        upload(backend, {host.data ? numbers.data() : nullptr, DType::kF32, host.shape});
  }
}

void Weights::reserve(const Plan& plan, Backend& backend, Stream& stream) {
  for (const auto& [id, use] : weight_uses(plan)) {
    const ValueType& type = plan.values[id].type;
    const TensorView empty(static_cast<void*>(nullptr), type.dtype, type.shape());
    place(id, plan, use, empty, backend, stream);
  }
}

void Weights::load(const Engine& engine, const Plan& plan, Backend& backend, Stream& stream,
                   const std::function<void(int64_t, int64_t)>& progress) {
  HostConstants constants(engine, plan);
  const int64_t total = engine.weight_bytes();
  int64_t done = 0;
  for (const auto& [id, use] : weight_uses(plan)) {
    std::vector<TensorView> sources;
    place(id, plan, use, constants.evaluate(id, sources), backend, stream);
    constants.clear();
    for (const TensorView& source : sources) {
      if (engine.release) engine.release(source);
      done += source.bytes();
    }
    if (progress) progress(std::min(done, total), total);
  }
  stream.synchronize();
}

}  // namespace brayton
