// Instruction-set levels: each is a complete set of kernels.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace brayton::cpu {

enum class Level {
  kBaseline,  // plain C++, any CPU
  kSse42,
  kAvx2,    // with FMA, F16C, BMI2
  kAvx512,  // F, BW, DQ, VL, VNNI
};

std::string_view level_name(Level level);  // "baseline", "sse42", "avx2", "avx512"

// Features that `level` needs and that this CPU, its operating system or this build lacks, by the
// names of /proc/cpuinfo. Empty: the level can run here.
std::vector<std::string> missing_features(Level level);

std::vector<Level> available_levels();  // slowest first; never empty

// The level of that name, the best one for "". Throws Error(kInvalidArgument) for an unknown name
// and Error(kUnsupported) that lists what is missing.
Level choose_level(const std::string& name);

}  // namespace brayton::cpu
