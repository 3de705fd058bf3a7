// activation: y = f(x).   gated_activation: y[t, i] = f(x[t, i]) * x[t, F + i]
#pragma once

#include <string_view>

#include "brayton/tensor_view.h"

namespace brayton {

enum class ActivationKind {
  kSilu,      // x / (1 + exp(-x))
  kGelu,      // x * Phi(x), by erf
  kGeluTanh,  // x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3)))
  kRelu,
};

std::string_view activation_name(ActivationKind kind);  // "silu", "gelu", "gelu_tanh", "relu"
// Also Hugging Face's names: "gelu_new", "swish", ... `what` begins the message about another name.
ActivationKind activation_from_name(std::string_view name,
                                    std::string_view what = "[activation] the name");

double activate(ActivationKind kind, double x);

struct ActivationArgs {
  TensorView x;  // [T, D]; rows may be strided
  TensorView y;  // [T, D]; may alias x
  ActivationKind kind = ActivationKind::kSilu;
};

struct GatedActivationArgs {
  TensorView x;  // [T, 2F]: gate, then up
  TensorView y;  // [T, F]
  ActivationKind kind = ActivationKind::kSilu;
};

void check(const ActivationArgs& args);
void reference(const ActivationArgs& args);
void check(const GatedActivationArgs& args);
void reference(const GatedActivationArgs& args);

}  // namespace brayton
