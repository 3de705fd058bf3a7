#include "backends/cpu/level_kernels.h"

#include "backends/cpu/kernels/kernels.h"

namespace brayton::cpu::BRAYTON_CPU_LEVEL {
namespace {

// An op without a kernel of its own runs as what it means.
template <class Args>
void by_reference(Stream&, const Args& args) {
  check(args);
  reference(args);
}

}  // namespace

extern const LevelKernels kLevelKernels;
constinit const LevelKernels kLevelKernels = {
    .table =
        {
            .embedding = by_reference<EmbeddingArgs>,
            .linear = by_reference<LinearArgs>,
            .rms_norm = by_reference<RmsNormArgs>,
            .layer_norm = by_reference<LayerNormArgs>,
            .rope = by_reference<RopeArgs>,
            .attention = by_reference<AttentionArgs>,
            .activation = by_reference<ActivationArgs>,
            .gated_activation = by_reference<GatedActivationArgs>,
            .binary = by_reference<BinaryArgs>,
            .scale = by_reference<ScaleArgs>,
            .gather_rows = by_reference<GatherRowsArgs>,
        },
};

}  // namespace brayton::cpu::BRAYTON_CPU_LEVEL
