#include "backends/cpu/cpu_level.h"

#include <array>
#include <cstdint>

#include "core/format.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace brayton::cpu {
namespace {

constexpr std::array kLevels = {Level::kBaseline, Level::kSse42, Level::kAvx2, Level::kAvx512};

#if defined(__x86_64__)

// CPUID's answers, with the features masked whose registers the operating system doesn't save.
class Probe {
 public:
  Probe() {
    read(1, leaf1_);
    read(7, leaf7_);
    if (leaf1_[2] & (1u << 27)) {  // OSXSAVE: XGETBV may be used
      uint32_t low = 0, high = 0;
      __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
      saved_ = low;
    }
  }

  struct Feature {
    const char* name;
    int leaf;   // 1 or 7
    int index;  // 1: EBX, 2: ECX
    int bit;
    uint32_t state;  // bits of XCR0 that must be set
    Level level;     // the first that needs it
  };
  bool has(const Feature& feature) const {
    const auto& leaf = feature.leaf == 1 ? leaf1_ : leaf7_;
    return (leaf[feature.index] >> feature.bit & 1u) && (saved_ & feature.state) == feature.state;
  }

 private:
  using Registers = std::array<uint32_t, 4>;
  static void read(unsigned leaf, Registers& r) {
    if (!__get_cpuid_count(leaf, 0, &r[0], &r[1], &r[2], &r[3])) r = {};
  }

  Registers leaf1_{}, leaf7_{};
  uint32_t saved_ = 0;
};

constexpr uint32_t kYmm = 0x6, kZmm = 0xe6;
constexpr std::array<Probe::Feature, 11> kFeatures = {{
    {"sse4_2", 1, 2, 20, 0, Level::kSse42},
    {"popcnt", 1, 2, 23, 0, Level::kSse42},
    {"avx2", 7, 1, 5, kYmm, Level::kAvx2},
    {"fma", 1, 2, 12, kYmm, Level::kAvx2},
    {"f16c", 1, 2, 29, kYmm, Level::kAvx2},
    {"bmi2", 7, 1, 8, 0, Level::kAvx2},
    {"avx512f", 7, 1, 16, kZmm, Level::kAvx512},
    {"avx512bw", 7, 1, 30, kZmm, Level::kAvx512},
    {"avx512dq", 7, 1, 17, kZmm, Level::kAvx512},
    {"avx512vl", 7, 1, 31, kZmm, Level::kAvx512},
    {"avx512_vnni", 7, 2, 11, kZmm, Level::kAvx512},
}};

#endif

}  // namespace

std::string_view level_name(Level level) {
  constexpr std::array<std::string_view, 4> kNames = {"baseline", "sse42", "avx2", "avx512"};
  return kNames[static_cast<size_t>(level)];
}

std::vector<std::string> missing_features(Level level) {
  std::vector<std::string> missing;
#if defined(__x86_64__)
  const Probe probe;
  for (const Probe::Feature& feature : kFeatures)
    if (feature.level <= level && !probe.has(feature)) missing.emplace_back(feature.name);
#else
  if (level != Level::kBaseline) missing.emplace_back("x86_64");
#endif
  return missing;
}

std::vector<Level> available_levels() {
  std::vector<Level> levels;
  for (const Level level : kLevels)
    if (missing_features(level).empty()) levels.push_back(level);
  return levels;
}

Level choose_level(const std::string& name) {
  if (name.empty()) return available_levels().back();
  for (const Level level : kLevels) {
    if (level_name(level) != name) continue;
    const std::vector<std::string> missing = missing_features(level);
    if (!missing.empty())
      throw_error(ErrorCode::kUnsupported, "[cpu] level {} needs {}, which this CPU lacks; use {}",
                  name, fmt::join(missing, ", "), level_name(available_levels().back()));
    return level;
  }
  throw_error(ErrorCode::kInvalidArgument,
              "[cpu] level must be baseline, sse42, avx2 or avx512, got \"{}\"", name);
}

}  // namespace brayton::cpu
