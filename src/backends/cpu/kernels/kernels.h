// The kernels of a level. Each is in the file of its name (linear in linear*.cc) and begins with
// check(args). No std templates, no inline functions of shared headers that might not be inlined.
#pragma once

#include "backends/kernel_table.h"

namespace brayton::cpu::BRAYTON_CPU_LEVEL {

void linear(Stream& stream, const LinearArgs& args);
void embedding(Stream& stream, const EmbeddingArgs& args);     // row_copies.cc
void gather_rows(Stream& stream, const GatherRowsArgs& args);  // row_copies.cc
void rms_norm(Stream& stream, const RmsNormArgs& args);        // norm.cc
void layer_norm(Stream& stream, const LayerNormArgs& args);    // norm.cc
void rope(Stream& stream, const RopeArgs& args);
void attention(Stream& stream, const AttentionArgs& args);
void activation(Stream& stream, const ActivationArgs& args);
void gated_activation(Stream& stream, const GatedActivationArgs& args);  // activation.cc
void binary(Stream& stream, const BinaryArgs& args);                     // elementwise.cc
void scale(Stream& stream, const ScaleArgs& args);                       // elementwise.cc

}  // namespace brayton::cpu::BRAYTON_CPU_LEVEL
