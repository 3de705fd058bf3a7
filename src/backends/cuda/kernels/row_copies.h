// embedding and gather_rows. See row_copies.cuh.
#pragma once

#include "backends/cuda/cuda_stream.h"
#include "ops/embedding.h"
#include "ops/gather_rows.h"

namespace brayton::cuda {

// Tables of f32, f16 and bf16. An id that is not in the table makes a row of NaN.
void embedding(Stream& stream, const EmbeddingArgs& args);
void gather_rows(Stream& stream, const GatherRowsArgs& args);

}  // namespace brayton::cuda
