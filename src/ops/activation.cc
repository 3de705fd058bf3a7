#include "ops/activation.h"

#include <cmath>
#include <numbers>
#include <utility>
#include <vector>

#include "core/format.h"
#include "ops/dim_check.h"
#include "ops/float_element.h"

namespace brayton {
namespace {

// The first row of a kind is our own name for it; the others are Hugging Face's and GGUF's.
constexpr std::pair<ActivationKind, std::string_view> kNames[] = {
    {ActivationKind::kSilu, "silu"},
    {ActivationKind::kGelu, "gelu"},
    {ActivationKind::kGeluTanh, "gelu_tanh"},
    {ActivationKind::kRelu, "relu"},
    {ActivationKind::kSilu, "swish"},
    {ActivationKind::kGelu, "gelu_python"},
    {ActivationKind::kGeluTanh, "gelu_new"},
    {ActivationKind::kGeluTanh, "gelu_fast"},
    {ActivationKind::kGeluTanh, "gelu_pytorch_tanh"},
};

}  // namespace

double activate(ActivationKind kind, double x) {
  switch (kind) {
    case ActivationKind::kSilu:
      return x / (1.0 + std::exp(-x));
    case ActivationKind::kGelu:
      return 0.5 * x * std::erfc(-x / std::numbers::sqrt2);
    case ActivationKind::kGeluTanh:
      return 0.5 * x *
             (1.0 + std::tanh(std::sqrt(2.0 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
    case ActivationKind::kRelu:
      return x > 0.0 ? x : 0.0;
  }
  return x;
}

std::string_view activation_name(ActivationKind kind) {
  for (const auto& [each, name] : kNames)
    if (each == kind) return name;
  throw_error(ErrorCode::kInternal, "[activation] no function has the number {}",
              static_cast<int>(kind));
}

ActivationKind activation_from_name(std::string_view name, std::string_view what) {
  for (const auto& [kind, each] : kNames)
    if (each == name) return kind;
  std::vector<std::string_view> known;
  for (const auto& [kind, each] : kNames) known.push_back(each);
  throw_error(ErrorCode::kUnsupported, "{} must be one of {}, got \"{}\"", what,
              fmt::join(known, ", "), name);
}

void check(const ActivationArgs& args) {
  DimCheck("activation")
      .dims(args.x, "x", {"T", "D"})
      .dims(args.y, "y", {"T", "D"})
      .activations({{&args.x, "x"}, {&args.y, "y"}});
}

void reference(const ActivationArgs& args) {
  check(args);
  for (int64_t t = 0; t < args.x.dim(0); ++t)
    for (int64_t i = 0; i < args.x.dim(1); ++i)
      store_float(args.y, t, i, static_cast<float>(activate(args.kind, load_float(args.x, t, i))));
}

void check(const GatedActivationArgs& args) {
  DimCheck("gated_activation")
      .dims(args.y, "y", {"T", "F"})
      .dims(args.x, "x", {"T", "2F"})
      .activations({{&args.x, "x"}, {&args.y, "y"}});
}

void reference(const GatedActivationArgs& args) {
  check(args);
  const int64_t width = args.y.dim(1);
  for (int64_t t = 0; t < args.y.dim(0); ++t)
    for (int64_t i = 0; i < width; ++i) {
      const double gate = activate(args.kind, load_float(args.x, t, i));
      store_float(args.y, t, i, static_cast<float>(gate * load_float(args.x, t, width + i)));
    }
}

}  // namespace brayton
