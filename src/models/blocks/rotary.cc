#include "models/blocks/rotary.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "models/blocks/config.h"

namespace brayton {
namespace {

// What the scaling rules work on. inv_freq [dim / 2].
struct Frequencies {
  double theta = 10000.0;
  int64_t dim = 0;
  int64_t max_positions = 0;
  std::vector<double> inv_freq;
  double scale = 1.0;
};

std::vector<double> inverse_frequencies(double theta, int64_t dim) {
  std::vector<double> result;
  for (int64_t i = 0; i < dim; i += 2)
    result.push_back(std::pow(theta, -static_cast<double>(i) / static_cast<double>(dim)));
  return result;
}

double positive(const JsonReader& rope, std::string_view field, double value) {
  if (!(value > 0.0) || value > 1e12)
    config_error(rope, "field '{}' must be in (0, 1e12], got {}", field, value);
  return value;
}

double read_factor(const JsonReader& rope) {
  const double factor = rope.get_double({"factor"});
  if (!(factor >= 1.0) || factor > 1e6)
    config_error(rope, "field 'factor' must be in [1, 1e6], got {}", factor);
  return factor;
}

int64_t original_positions(const JsonReader& rope, const Frequencies& f) {
  return rope.get_int({"original_max_position_embeddings"}, 1, kMaxPositions, f.max_positions);
}

int64_t extended(int64_t positions, double factor) {
  return static_cast<int64_t>(
      std::min(static_cast<double>(positions) * factor, static_cast<double>(kMaxPositions)));
}

// Positions are divided by the factor. Source: Chen et al. 2023.
void scale_linear(const JsonReader& rope, Frequencies& f) {
  const double factor = read_factor(rope);
  for (double& freq : f.inv_freq) freq /= factor;
  f.max_positions = extended(f.max_positions, factor);
}

// Dynamic NTK lets the base grow with the sequence. As in vLLM the base here is fixed: that of the
// extended length, max_position_embeddings * factor, so that cached keys stay valid.
void scale_dynamic(const JsonReader& rope, Frequencies& f) {
  const double factor = read_factor(rope);
  if (f.dim <= 2) config_error(rope, "dynamic scaling needs more than 2 rotary dimensions");
  const double dim = static_cast<double>(f.dim);
  const double theta = f.theta * std::pow(factor * factor - (factor - 1.0), dim / (dim - 2.0));
  f.inv_freq = inverse_frequencies(theta, f.dim);
  f.max_positions = extended(f.max_positions, factor);
}

// Long waves are stretched by the factor, short ones kept, those between blended by how often they
// turn within the original length. Source: Llama 3.1's model code.
void scale_llama3(const JsonReader& rope, Frequencies& f) {
  const double factor = read_factor(rope);
  const double low = positive(rope, "low_freq_factor", rope.get_double({"low_freq_factor"}));
  const double high = positive(rope, "high_freq_factor", rope.get_double({"high_freq_factor"}));
  if (low >= high)
    config_error(rope, "field 'high_freq_factor' must be above low_freq_factor {}, got {}", low,
                 high);
  const auto original =
      static_cast<double>(rope.get_int({"original_max_position_embeddings"}, 1, kMaxPositions));
  for (double& freq : f.inv_freq) {
    const double turns = original * freq / (2.0 * std::numbers::pi);
    const double kept = std::clamp((turns - low) / (high - low), 0.0, 1.0);
    freq = (1.0 - kept) * freq / factor + kept * freq;
  }
}

double yarn_attention_factor(const JsonReader& rope, double factor) {
  if (rope.has("attention_factor"))
    return positive(rope, "attention_factor", rope.get_double({"attention_factor"}));
  const auto temperature = [&](double mscale) { return 0.1 * mscale * std::log(factor) + 1.0; };
  const double mscale = rope.get_double({"mscale"}, 0.0);
  const double mscale_all = rope.get_double({"mscale_all_dim"}, 0.0);
  if (mscale > 0.0 && mscale_all > 0.0) return temperature(mscale) / temperature(mscale_all);
  return temperature(1.0);
}

// Dimensions that turn more than beta_fast times within the original length are kept, those that
// turn less than beta_slow times stretched, with a ramp between. Source: Peng et al. 2023.
void scale_yarn(const JsonReader& rope, Frequencies& f) {
  if (f.theta <= 1.0) config_error(rope, "yarn needs rope_theta above 1, got {}", f.theta);
  const int64_t original = original_positions(rope, f);
  const double factor = rope.has("factor") || original >= f.max_positions
                            ? read_factor(rope)
                            : static_cast<double>(f.max_positions) / static_cast<double>(original);
  // The dimension that turns `turns` times within the original length.
  const auto dimension = [&](double turns) {
    return static_cast<double>(f.dim) *
           std::log(static_cast<double>(original) / (turns * 2.0 * std::numbers::pi)) /
           (2.0 * std::log(f.theta));
  };
  double low = dimension(positive(rope, "beta_fast", rope.get_double({"beta_fast"}, 32.0)));
  double high = dimension(positive(rope, "beta_slow", rope.get_double({"beta_slow"}, 1.0)));
  if (rope.get_bool({"truncate"}, true)) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(f.dim - 1));
  if (low == high) high += 0.001;
  for (size_t i = 0; i < f.inv_freq.size(); ++i) {
    const double stretched = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    f.inv_freq[i] *= stretched / factor + (1.0 - stretched);
  }
  f.scale = yarn_attention_factor(rope, factor);
  f.max_positions = extended(original, factor);
}

void apply_scaling(const JsonReader& rope, Frequencies& f) {
  for (const auto& [name, value] : rope.json().items())
    if (value.is_object())
      throw_error(ErrorCode::kUnsupported,
                  "[{}] must be one set of rotary parameters for all layers, got '{}' of its own",
                  rope.where(), name);
  const std::string type = rope.get_string({"rope_type", "type"}, "default");
  if (type == "linear") return scale_linear(rope, f);
  if (type == "dynamic") return scale_dynamic(rope, f);
  if (type == "llama3") return scale_llama3(rope, f);
  if (type == "yarn") return scale_yarn(rope, f);
  if (type != "default")
    throw_error(ErrorCode::kUnsupported,
                "[{}] rope_type must be default, linear, dynamic, llama3 or yarn, got '{}'",
                rope.where(), type.substr(0, 40));
}

void apply_divisors(const JsonReader& config, Frequencies& f) {
  const std::vector<double> divisors = config.get_doubles("rope_divisors");
  if (divisors.size() != f.inv_freq.size())
    config_error(config, "field 'rope_divisors' must have {} numbers, got {}", f.inv_freq.size(),
                 divisors.size());
  for (size_t i = 0; i < divisors.size(); ++i)
    f.inv_freq[i] /= positive(config, "rope_divisors", divisors[i]);
}

int64_t read_rotary_dim(const JsonReader& config, const JsonReader& rope, int64_t head_dim,
                        double fraction) {
  int64_t dim = 0;
  if (config.has("rotary_dim")) {
    dim = config.get_int({"rotary_dim"}, 2, head_dim);
  } else {
    const JsonReader& source = rope.has("partial_rotary_factor") ? rope : config;
    fraction = source.get_double({"partial_rotary_factor", "rotary_pct"}, fraction);
    if (!(fraction > 0.0 && fraction <= 1.0))
      config_error(source,
                   "field 'partial_rotary_factor' or 'rotary_pct' must be in (0, 1], got {}",
                   fraction);
    dim = static_cast<int64_t>(static_cast<double>(head_dim) * fraction);
  }
  if (dim < 2 || dim % 2 != 0)
    config_error(config,
                 "the rotary part of a head of {} must be an even number of at least 2, got {}",
                 head_dim, dim);
  return dim;
}

}  // namespace

Rotary read_rotary(const JsonReader& config, int64_t head_dim, int64_t max_positions,
                   double fraction) {
  static const Json kEmpty = Json::object();
  const JsonReader rope = config.has("rope_parameters") ? config.object("rope_parameters")
                          : config.has("rope_scaling")  ? config.object("rope_scaling")
                                                        : JsonReader(kEmpty, config.where());
  Frequencies f;
  const JsonReader& source = rope.has("rope_theta") ? rope : config;
  f.theta =
      positive(source, "rope_theta", source.get_double({"rope_theta", "rotary_emb_base"}, 10000.0));
  f.dim = read_rotary_dim(config, rope, head_dim, fraction);
  f.max_positions = max_positions;
  f.inv_freq = inverse_frequencies(f.theta, f.dim);
  apply_scaling(rope, f);
  if (config.has("rope_divisors")) apply_divisors(config, f);
  Rotary rotary;
  rotary.max_positions = f.max_positions;
  rotary.options.inv_freq = std::move(f.inv_freq);
  rotary.options.scale = f.scale;
  return rotary;
}

}  // namespace brayton
