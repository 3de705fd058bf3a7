#include "models/blocks/alibi.h"

#include <bit>
#include <cmath>

namespace brayton {

std::vector<double> alibi_slopes(int64_t heads) {
  const auto lower = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(heads)));
  const double step = 8.0 / static_cast<double>(lower);
  std::vector<double> slopes;
  for (int64_t i = 1; i <= lower; ++i) slopes.push_back(std::exp2(-step * static_cast<double>(i)));
  for (int64_t i = 0; i < heads - lower; ++i)
    slopes.push_back(std::exp2(-step / 2 * static_cast<double>(2 * i + 1)));
  return slopes;
}

}  // namespace brayton
