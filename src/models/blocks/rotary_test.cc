// Frequencies are those of each scaling rule's paper or model code. The numbers were computed in
// Python from the formulas of transformers' modeling_rope_utils.py, and of vLLM for dynamic NTK.
#include "models/blocks/rotary.h"

#include <gtest/gtest.h>

#include "testing/op_test.h"

namespace brayton {
namespace {

using testing::error_of;

Rotary read(const char* config, int64_t head_dim, int64_t max_positions, double fraction = 1.0) {
  const Json json = parse_json(config, "config.json");
  return read_rotary(JsonReader(json, "config.json"), head_dim, max_positions, fraction);
}

void expect_frequencies(const Rotary& rotary, const std::vector<double>& expected) {
  ASSERT_EQ(rotary.options.inv_freq.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(rotary.options.inv_freq[i], expected[i], 1e-14 + 1e-12 * expected[i]) << i;
}

TEST(Rotary, Default) {
  for (const char* config :
       {"{}", R"({"rope_scaling": null})", R"({"rope_parameters": {"rope_type": "default"}})",
        R"({"rope_theta": 10000})", R"({"rotary_emb_base": 10000})",
        R"({"rope_theta": 5, "rope_parameters": {"rope_theta": 10000.0}})"}) {
    const Rotary rotary = read(config, 8, 2048);
    expect_frequencies(rotary, {1.0, 0.1, 0.01, 0.001});
    EXPECT_EQ(rotary.options.scale, 1.0);
    EXPECT_EQ(rotary.max_positions, 2048);
  }
}

TEST(Rotary, APartOfTheHeadMayTurn) {
  expect_frequencies(read("{}", 16, 2048, 0.25), {1.0, 0.01});
  expect_frequencies(read(R"({"rotary_pct": 0.25})", 16, 2048), {1.0, 0.01});
  expect_frequencies(read(R"({"rotary_dim": 4})", 16, 2048), {1.0, 0.01});
  expect_frequencies(read(R"({"rope_parameters": {"partial_rotary_factor": 0.25}})", 16, 2048),
                     {1.0, 0.01});
}

TEST(Rotary, Linear) {
  const Rotary rotary = read(R"({"rope_scaling": {"type": "linear", "factor": 4}})", 8, 2048);
  expect_frequencies(rotary, {0.25, 0.025, 0.0025, 0.00025});
  EXPECT_EQ(rotary.max_positions, 8192);
}

TEST(Rotary, DynamicNtk) {
  const Rotary rotary = read(R"({"rope_scaling": {"type": "dynamic", "factor": 2.0}})", 8, 2048);
  expect_frequencies(rotary,
                     {1.0, 0.06933612743506347, 0.004807498567691361, 0.0003333333333333334});
  EXPECT_EQ(rotary.max_positions, 4096);
}

TEST(Rotary, Llama3) {
  const Rotary rotary = read(R"({"rope_theta": 500000, "rope_scaling": {"rope_type": "llama3",
    "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192}})",
                             16, 131072);
  expect_frequencies(rotary, {1.0, 0.19392274474868576, 0.03760603093086393, 0.0072926647372171085,
                              0.0005248461609929547, 3.428102195952591e-05, 6.647869871181236e-06,
                              1.2891731721515574e-06});
  EXPECT_EQ(rotary.max_positions, 131072);
}

TEST(Rotary, Yarn) {
  const Rotary rotary = read(R"({"rope_scaling": {"rope_type": "yarn", "factor": 4.0,
    "original_max_position_embeddings": 2048}})",
                             16, 2048);
  expect_frequencies(rotary, {1.0, 0.31622776601683794, 0.1, 0.02569350598886808, 0.00625,
                              0.0013834964763236657, 0.00025, 7.905694150420948e-05});
  EXPECT_NEAR(rotary.options.scale, 1.138629436111989, 1e-15);
  EXPECT_EQ(rotary.max_positions, 8192);
}

TEST(Rotary, YarnWithItsOptions) {
  const Rotary rotary = read(R"({"rope_scaling": {"rope_type": "yarn", "truncate": false,
    "original_max_position_embeddings": 2048, "attention_factor": 1.5}})",
                             16, 8192);  // the factor is 8192 / 2048
  expect_frequencies(rotary,
                     {1.0, 0.31622776601683794, 0.1, 0.023870192321736323, 0.005056971521129435,
                      0.0008112903817014309, 0.00025, 7.905694150420948e-05});
  EXPECT_EQ(rotary.options.scale, 1.5);
  EXPECT_EQ(rotary.max_positions, 8192);
  const Rotary deepseek = read(R"({"rope_scaling": {"type": "yarn", "factor": 40, "mscale": 0.707,
    "mscale_all_dim": 0.707, "original_max_position_embeddings": 4096}})",
                               64, 163840);
  EXPECT_EQ(deepseek.options.scale, 1.0);
}

TEST(Rotary, DivisorsDivide) {
  expect_frequencies(read(R"({"rope_divisors": [1, 1, 2, 8]})", 8, 2048),
                     {1.0, 0.1, 0.005, 0.000125});
}

TEST(Rotary, ErrorsNameTheField) {
  const auto error = [](const char* config) { return error_of([&] { read(config, 8, 2048); }); };
  EXPECT_EQ(error(R"({"rope_scaling": {"type": "longrope"}})"),
            "[config.json: rope_scaling] rope_type must be default, linear, dynamic, llama3 or "
            "yarn, got 'longrope'");
  EXPECT_EQ(error(R"({"rope_scaling": {"type": "linear"}})"),
            "[config.json: rope_scaling] field 'factor' is missing");
  EXPECT_EQ(error(R"({"rope_scaling": {"type": "linear", "factor": 0.5}})"),
            "[config.json: rope_scaling] field 'factor' must be in [1, 1e6], got 0.5");
  EXPECT_EQ(error(R"({"rope_theta": 0})"),
            "[config.json] field 'rope_theta' must be in (0, 1e12], got 0");
  EXPECT_EQ(error(R"({"rotary_pct": 1.5})"),
            "[config.json] field 'partial_rotary_factor' or 'rotary_pct' must be in (0, 1], got "
            "1.5");
  EXPECT_EQ(error(R"({"rotary_pct": 0.2})"),
            "[config.json] the rotary part of a head of 8 must be an even number of at least 2, "
            "got 1");
  EXPECT_EQ(error(R"({"rope_divisors": [1, 2]})"),
            "[config.json] field 'rope_divisors' must have 4 numbers, got 2");
  EXPECT_EQ(error(R"({"rope_parameters": {"full_attention": {"rope_type": "default"}}})"),
            "[config.json: rope_parameters] must be one set of rotary parameters for all layers, "
            "got 'full_attention' of its own");
  EXPECT_EQ(error(R"({"rope_scaling": {"type": "llama3", "factor": 8, "low_freq_factor": 4,
                     "high_freq_factor": 4, "original_max_position_embeddings": 64}})"),
            "[config.json: rope_scaling] field 'high_freq_factor' must be above low_freq_factor 4, "
            "got 4");
}

}  // namespace
}  // namespace brayton
