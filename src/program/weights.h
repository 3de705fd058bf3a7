// A plan's constants on the device: packed matrices, raw tables, float32 vectors.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "backends/backend.h"
#include "engine/engine.h"

namespace brayton {

// How the steps of a plan read a constant.
struct WeightUse {
  std::string tactic;      // of the linear that reads it as a matrix; empty: none does
  bool as_table = false;   // raw rows: embedding
  bool as_vector = false;  // float32: norms, biases, slopes, frequencies
};

// By PlanValueId. Throws Error(kInvalidModel) for a constant that an op reads as an activation.
std::map<PlanValueId, WeightUse> weight_uses(const Plan& plan);

struct DeviceWeight {
  TensorView raw;     // on the device; the type it is stored in
  TensorView vector;  // on the device; f32
  std::unique_ptr<PackedWeight> packed;
  std::unique_ptr<PackedWeight> table;  // what raw lies in, when the device has its own type for it
};

class Weights {
 public:
  // Evaluates the load instructions, packs, converts; pages of packed tensors are released.
  // `plan`: the engine's, as the device carries it out.
  void load(const Engine& engine, const Plan& plan, Backend& backend, Stream& stream,
            const std::function<void(int64_t, int64_t)>& progress);
  // Memory of the right shapes without contents: enough to plan with.
  void reserve(const Plan& plan, Backend& backend, Stream& stream);
  // Bytes that load() will take on the device.
  static int64_t planned_bytes(const Plan& plan, const Backend& backend);

  const DeviceWeight& at(PlanValueId id) const { return weights_.at(id); }

 private:
  void place(PlanValueId id, const Plan& plan, const WeightUse& use, const TensorView& host,
             Backend& backend, Stream& stream);
  TensorView upload(Backend& backend, const TensorView& host);

  std::map<PlanValueId, DeviceWeight> weights_;
  std::vector<Buffer> buffers_;
};

}  // namespace brayton
