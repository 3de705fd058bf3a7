#include "models/blocks/projection.h"

namespace brayton {
namespace {

int64_t width(Value x) { return x.type().dims.back().size; }

}  // namespace

Bias read_bias(const JsonReader& config, std::string_view field) {
  if (!config.has(field)) return Bias::kIfInCheckpoint;
  return config.get_bool({field}, false) ? Bias::kPresent : Bias::kNone;
}

Value bias_of(GraphBuilder& g, const Scope& w, int64_t size, Bias bias) {
  if (bias == Bias::kNone) return {};
  return bias == Bias::kPresent ? g.weight(w / "bias", {size})
                                : g.optional_weight(w / "bias", {size});
}

Value project(GraphBuilder& g, const Scope& w, Value x, int64_t out, Bias bias) {
  const Value weight = g.weight(w / "weight", {out, width(x)});
  return g.linear(x, weight, bias_of(g, w, out, bias));
}

Value layer_norm(GraphBuilder& g, const Scope& w, Value x, double eps) {
  const Value weight = g.weight(w / "weight", {width(x)});
  return g.layer_norm(x, weight, g.weight(w / "bias", {width(x)}), eps);
}

Value lm_head(GraphBuilder& g, Value x, Value table) {
  return g.linear(g.gather_rows(x, g.logit_rows()), table);
}

}  // namespace brayton
