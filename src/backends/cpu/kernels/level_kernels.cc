#include "backends/cpu/level_kernels.h"

#include "backends/cpu/kernels/kernels.h"
#include "backends/cpu/kernels/simd.h"

namespace brayton::cpu::BRAYTON_CPU_LEVEL {
extern const LevelKernels kLevelKernels;
constinit const LevelKernels kLevelKernels = {
    .table =
        {
            .embedding = embedding,
            .linear = linear,
            .rms_norm = rms_norm,
            .layer_norm = layer_norm,
            .rope = rope,
            .attention = attention,
            .activation = activation,
            .gated_activation = gated_activation,
            .binary = binary,
            .scale = scale,
            .gather_rows = gather_rows,
        },
    .lanes = kLanes,
};

}  // namespace brayton::cpu::BRAYTON_CPU_LEVEL
