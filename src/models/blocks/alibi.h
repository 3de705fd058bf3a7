// ALiBi: a penalty on each attention score that grows with the distance, one slope a head.
// Source: Press, Smith and Lewis 2022.
#pragma once

#include <cstdint>
#include <vector>

namespace brayton {

// For n = 2^k heads the slopes 2^(-8/n), 2^(-16/n), ...; other counts take those of the next lower
// power of two, then every other slope of the next higher one.
std::vector<double> alibi_slopes(int64_t heads);

}  // namespace brayton
