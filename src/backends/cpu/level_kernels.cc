#include "backends/cpu/level_kernels.h"

#include "core/check.h"

namespace brayton::cpu {

namespace baseline {
extern const LevelKernels kLevelKernels;
}
#if defined(__x86_64__)
namespace sse42 {
extern const LevelKernels kLevelKernels;
}
namespace avx2 {
extern const LevelKernels kLevelKernels;
}
namespace avx512 {
extern const LevelKernels kLevelKernels;
}
#endif

const LevelKernels& level_kernels(Level level) {
#if defined(__x86_64__)
  if (level == Level::kSse42) return sse42::kLevelKernels;
  if (level == Level::kAvx2) return avx2::kLevelKernels;
  if (level == Level::kAvx512) return avx512::kLevelKernels;
#endif
  BRAYTON_CHECK(level == Level::kBaseline);
  return baseline::kLevelKernels;
}

}  // namespace brayton::cpu
