// Every config of the known families builds, an unknown one is told what there is, and no config,
// however damaged, does more than throw an Error.
#include "models/families.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "testing/allocation_meter.h"
#include "testing/build_model.h"
#include "testing/mutate.h"

namespace brayton {
namespace {

using testing::build_model;
using testing::error_of;

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// config.json files of real models, and of tiny checkpoints of each family.
std::vector<std::filesystem::path> config_files() {
  std::vector<std::filesystem::path> paths;
  const std::filesystem::path data = BRAYTON_TEST_DATA;
  for (const auto& entry : std::filesystem::directory_iterator(data / "configs"))
    if (entry.path().extension() == ".json") paths.push_back(entry.path());
  for (const auto& entry : std::filesystem::directory_iterator(data / "families"))
    paths.push_back(entry.path() / "config.json");
  std::ranges::sort(paths);
  return paths;
}

TEST(Families, RealConfigsBuild) {
  ASSERT_GE(config_files().size(), 16u);
  for (const auto& path : config_files()) {
    SCOPED_TRACE(path.string());
    const Json config = parse_json(read_file(path), path.string());
    const ModelDefinition model = build_model(config);
    EXPECT_EQ(testing::count(model.graph, "attention"), model.info.layers);
    model.graph.verify();
    EXPECT_EQ(print(parse_graph(print(model.graph))), print(model.graph));
  }
}

TEST(Families, RealConfigsHaveTheirModelsParameters) {
  const auto parameters = [](const char* name) {
    const std::filesystem::path path = std::filesystem::path(BRAYTON_TEST_DATA) / "configs" / name;
    int64_t sum = 0;
    const ModelDefinition model = build_model(parse_json(read_file(path), name));
    for (const auto& [tensor, info] : testing::tensors_of(model.graph))
      sum += info.shape.elements();
    return sum;
  };
  EXPECT_EQ(parameters("llama2-7b.json"), 6738415616);
  EXPECT_EQ(parameters("llama3-8b.json"), 8030261248);
  EXPECT_EQ(parameters("llama3-70b.json"), 70553706496);
  EXPECT_EQ(parameters("mistral-7b-instruct-v0.2.json"), 7241732096);
  EXPECT_EQ(parameters("bloom-176b.json"), 176247271424);
}

TEST(Families, NamesAreUnique) {
  std::map<std::string, int> names;
  for (const Family& family : families())
    for (const std::string& name : family.architectures) EXPECT_EQ(++names[name], 1) << name;
}

std::string find_error(const char* config) {
  const Json json = parse_json(config, "config.json");
  return error_of([&] { find_family(JsonReader(json, "config.json")); });
}

TEST(Families, ArchitecturesDecideBeforeTheModelType) {
  const auto find = [](const char* config) {
    const Json json = parse_json(config, "config.json");
    return find_family(JsonReader(json, "config.json")).name;
  };
  EXPECT_EQ(find(R"({"architectures": ["X", "GPT2LMHeadModel"], "model_type": "llama"})"), "gpt2");
  EXPECT_EQ(find(R"({"architectures": [], "model_type": "bloom"})"), "bloom");
  EXPECT_EQ(find(R"({"model_type": "gpt_neox"})"), "gpt_neox");
  EXPECT_NE(find_error(R"({"architectures": ["LlamaForTokenClassification"],
                           "model_type": "llama"})"),
            "");
}

TEST(Families, UnknownOnesAreToldWhatThereIs) {
  EXPECT_EQ(find_error(R"({"architectures": ["MixtralForCausalLM"]})"),
            "[config.json] architectures must be of one of the families llama, mistral, gpt2, "
            "gpt_neox, bloom; got 'MixtralForCausalLM', the nearest known name is "
            "'MistralForCausalLM'");
  EXPECT_EQ(find_error(R"({"model_type": "gptneox"})"),
            "[config.json] model_type must be of one of the families llama, mistral, gpt2, "
            "gpt_neox, bloom; got 'gptneox', the nearest known name is 'gpt_neox'");
  EXPECT_EQ(find_error("{}"), "[config.json] field 'model_type' is missing");
}

TEST(Families, TheLargestConfigsStayCheap) {
  for (const char* type : {"llama", "gpt2", "gpt_neox", "bloom"}) {
    Json config = parse_json(R"({"vocab_size": 16777216, "hidden_size": 262144,
      "num_hidden_layers": 1024, "num_attention_heads": 64, "intermediate_size": 1048576})",
                             "config.json");
    config["model_type"] = type;
    testing::AllocationMeter meter;
    EXPECT_EQ(build_model(config).info.layers, 1024);
    EXPECT_LT(meter.peak(), size_t{64} << 20) << type;
    config["num_hidden_layers"] = 1025;
    EXPECT_NE(error_of([&] { build_model(config); }).find("must be an integer in [1, 1024]"),
              std::string::npos);
  }
}

// A lying config is an Error or a model of bounded size, and costs bounded memory.
TEST(Families, MutatedConfigsAreModelsOrErrors) {
  std::vector<std::string> configs;
  for (const auto& path : config_files()) {
    Json config = parse_json(read_file(path), path.string());
    for (const char* name : {"num_hidden_layers", "n_layer"})
      if (config.contains(name)) config[name] = 2;  // keeps the test quick
    configs.push_back(config.dump());
  }
  const uint64_t seed = testing::fresh_seed();
  testing::Mutator mutator(seed);
  int built = 0;
  constexpr int kCases = 12000;
  for (int i = 0; i < kCases; ++i) {
    const std::string text = mutator.mutate_json(configs[i % configs.size()]);
    const auto where = [&] { return format("seed {}, case {}: {}", seed, i, text); };
    testing::AllocationMeter meter;
    try {
      const ModelDefinition model = build_model(parse_json(text, "config.json"));
      ASSERT_LE(model.info.layers, 1024) << where();
      ++built;
    } catch (const Error& error) {
      ASSERT_NE(error.code(), ErrorCode::kInternal) << error.what() << "\n" << where();
      ASSERT_LT(std::string(error.what()).size(), 1000u) << where();
    }
    ASSERT_LT(meter.peak(), size_t{64} << 20) << where();
  }
  EXPECT_GT(built, 0);
  EXPECT_LT(built, kCases);
}

}  // namespace
}  // namespace brayton
