// What a backend can compute: one row per op. Kernels check, choose and launch; they don't
// allocate.
#pragma once

#include "ops/activation.h"
#include "ops/admit_slots.h"
#include "ops/append_kv.h"
#include "ops/attention.h"
#include "ops/elementwise.h"
#include "ops/embedding.h"
#include "ops/gather_rows.h"
#include "ops/layer_norm.h"
#include "ops/linear.h"
#include "ops/rms_norm.h"
#include "ops/rope.h"
#include "ops/sample.h"
#include "ops/unpack_step.h"

namespace brayton {

class Stream;

template <class Args>
using Kernel = void (*)(Stream& stream, const Args& args);

// Activations are float32 on the CPU backend.
struct KernelTable {
  Kernel<EmbeddingArgs> embedding = nullptr;
  Kernel<LinearArgs> linear = nullptr;
  Kernel<RmsNormArgs> rms_norm = nullptr;
  Kernel<LayerNormArgs> layer_norm = nullptr;
  Kernel<RopeArgs> rope = nullptr;
  Kernel<AttentionArgs> attention = nullptr;
  Kernel<ActivationArgs> activation = nullptr;
  Kernel<GatedActivationArgs> gated_activation = nullptr;
  Kernel<BinaryArgs> binary = nullptr;
  Kernel<ScaleArgs> scale = nullptr;
  Kernel<GatherRowsArgs> gather_rows = nullptr;
  // Only where the backend has them.
  Kernel<AppendKvArgs> append_kv = nullptr;      // Fusions::append_kv
  Kernel<UnpackStepArgs> unpack_step = nullptr;  // else a step's inputs are copied one by one
  Kernel<AdmitSlotsArgs> admit_slots = nullptr;  // with sample: tokens are drawn on the device
  Kernel<SampleArgs> sample = nullptr;
};

}  // namespace brayton
