// Block-quantised storage (GGUF formats) and plain floats -> float32: what a stored weight means.
#pragma once

#include <cstdint>

#include "brayton/dtype.h"

namespace brayton {

// Reads `count` consecutive elements of a row (whole blocks) as float32. Exact: every format's
// value is what its definition gives in float32 arithmetic. Any float or block type.
void to_f32(DType dtype, const void* source, int64_t count, float* target);

// Rounds float32 to a plain float type (f32, f16, bf16) or to q8_0 blocks.
void from_f32(DType dtype, const float* source, int64_t count, void* target);

}  // namespace brayton
