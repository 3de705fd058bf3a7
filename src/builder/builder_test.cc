// Every kind of MODEL becomes an engine with its weights, tokenizer, end tokens and template;
// written to a file and opened again it is the same.
#include "builder/builder.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "core/mapped_file.h"
#include "testing/named_tactics.h"
#include "testing/sample_files.h"

namespace brayton {
namespace {

namespace fs = std::filesystem;

const std::string kNovel = BRAYTON_TEST_DATA "/novel-2m";

// A folder of its own, gone at the end.
class Folder {
 public:
  Folder() : path_(fs::temp_directory_path() / format("brayton_builder_test.{}", ::getpid())) {
    fs::create_directories(path_);
  }
  ~Folder() { fs::remove_all(path_); }
  std::string path() const { return path_.string(); }
  std::string file(const std::string& name) const { return (path_ / name).string(); }
  std::string write(const std::string& name, std::string_view text) const {
    std::ofstream(path_ / name, std::ios::binary) << text;
    return file(name);
  }

 private:
  fs::path path_;
};

Engine build(const std::string& model, const BuildOptions& options = {},
             BuildReport* report = nullptr) {
  return build_engine(model, testing::NamedTactics(), options, report);
}

std::string fault_of(const std::string& model, const BuildOptions& options = {}) {
  try {
    build(model, options);
  } catch (const Error& fault) {
    return fault.what();
  }
  return "no fault";
}

void expect_same(const Engine& a, const Engine& b) {
  EXPECT_EQ(to_json(a.plan), to_json(b.plan));
  EXPECT_EQ(a.graph, b.graph);
  EXPECT_EQ(a.model.name, b.model.name);
  EXPECT_EQ(a.model.eos_token_ids, b.model.eos_token_ids);
  EXPECT_EQ(a.model.max_positions, b.model.max_positions);
  EXPECT_EQ(a.text.tokenizer, b.text.tokenizer);
  EXPECT_EQ(a.text.chat_template, b.text.chat_template);
  ASSERT_EQ(a.weights.size(), b.weights.size());
  for (const auto& [name, tensor] : a.weights) {
    const TensorView& other = b.weights.at(name);
    ASSERT_EQ(other.dtype, tensor.dtype) << name;
    ASSERT_EQ(other.shape, tensor.shape) << name;
    EXPECT_EQ(std::memcmp(other.data, tensor.data, static_cast<size_t>(tensor.bytes())), 0) << name;
  }
}

TEST(Builder, BuildsAFolderAndOpensTheEngineOfIt) {
  BuildReport report;
  const Engine engine = build(kNovel, {}, &report);
  EXPECT_EQ(engine.model.family, "llama");
  EXPECT_EQ(engine.model.name, "novel-2m");
  EXPECT_EQ(engine.model.vocab_size, 8192);
  EXPECT_EQ(engine.model.max_positions, 1024);
  EXPECT_EQ(engine.model.eos_token_ids, (std::vector<int32_t>{2}));
  EXPECT_EQ(engine.model.bos_token_id, 1);
  EXPECT_EQ(engine.text.eos_token, "</s>");
  EXPECT_EQ(engine.plan.dtype, DType::kBF16);
  EXPECT_EQ(engine.plan.attentions, 4);
  EXPECT_GT(report.seconds, 0);
  EXPECT_EQ(report.compile.passes.size(), pipeline().size());

  const Folder folder;
  write_engine(engine, folder.file("novel.engine"));
  expect_same(engine, build(folder.file("novel.engine")));
  const BuiltModel model = build_model(folder.file("novel.engine"), testing::NamedTactics(), {});
  EXPECT_TRUE(model.engine.text.tokenizer.empty());
  EXPECT_EQ(model.load_tokenizer()->encode("The end"),
            build_model(kNovel, testing::NamedTactics(), {}).load_tokenizer()->encode("The end"));
}

TEST(Builder, BuildsEveryFamily) {
  for (const auto& entry : fs::directory_iterator(BRAYTON_TEST_DATA "/families")) {
    if (!entry.is_directory()) continue;
    SCOPED_TRACE(entry.path().filename().string());
    const Engine engine = build(entry.path().string());
    EXPECT_GT(engine.weight_bytes(), 0);
    EXPECT_TRUE(engine.text.tokenizer.empty());
    const Folder folder;
    write_engine(engine, folder.file("family.engine"));
    expect_same(engine, build(folder.file("family.engine")));
  }
}

TEST(Builder, ObeysTheDtypeAndKeepsAnEngines) {
  const Engine engine = build(kNovel, {.dtype = DType::kF32});
  EXPECT_EQ(engine.plan.dtype, DType::kF32);
  const Folder folder;
  const std::string path = folder.file("novel.engine");
  write_engine(engine, path);
  EXPECT_EQ(build(path, {.dtype = DType::kF32}).plan.dtype, DType::kF32);
  EXPECT_EQ(fault_of(path, {.dtype = DType::kF16}),
            "[" + path +
                "] --dtype must be f32, as the engine was built, got f16; build it again "
                "with another --dtype");
  EXPECT_EQ(fault_of(kNovel, {.dtype = DType::kQ4_0}),
            "[build] dtype must be f32, f16 or bf16, got q4_0");
}

TEST(Builder, ChoosesTacticsAgainThatTheDeviceLacks) {
  Engine engine = build(kNovel);
  const Json plan = to_json(engine.plan);
  for (Instruction& step : engine.plan.steps)
    if (step.op == "linear") step.tactic = "of another machine";
  const Folder folder;
  write_engine(engine, folder.file("novel.engine"));
  EXPECT_EQ(to_json(build(folder.file("novel.engine")).plan), plan);
}

// novel-2m with other texts beside it.
class FolderText : public ::testing::Test {
 protected:
  FolderText() {
    for (const char* name : {"config.json", "model.safetensors", "tokenizer.json"})
      fs::copy_file(kNovel + "/" + name, folder_.file(name));
  }
  Folder folder_;
};

TEST_F(FolderText, GenerationConfigDecides) {
  folder_.write("generation_config.json",
                R"({"eos_token_id": [7, 5, 7, 9000], "bos_token_id": 3, "temperature": 0.5})");
  const Engine engine = build(folder_.path());
  EXPECT_EQ(engine.model.eos_token_ids, (std::vector<int32_t>{7, 5}));
  EXPECT_EQ(engine.model.bos_token_id, 3);
  EXPECT_EQ(engine.model.generation["temperature"], 0.5);
  EXPECT_EQ(engine.text.chat_template, "");
}

TEST_F(FolderText, ReadsTemplatesAndTokensInEveryForm) {
  folder_.write("tokenizer_config.json",
                R"({"bos_token": {"content": "<s>"}, "eos_token": null, "chat_template": [
                    {"name": "tools", "template": "no"}, {"name": "default", "template": "yes"}]})");
  const Engine list = build(folder_.path());
  EXPECT_EQ(list.text.chat_template, "yes");
  EXPECT_EQ(list.text.bos_token, "<s>");
  EXPECT_EQ(list.text.eos_token, "");
  folder_.write("tokenizer_config.json", R"({"chat_template": "text"})");
  EXPECT_EQ(build(folder_.path()).text.chat_template, "text");
  folder_.write("chat_template.jinja", "file");
  EXPECT_EQ(build(folder_.path()).text.chat_template, "file");
}

TEST_F(FolderText, RefusesADamagedTokenizerAtBuild) {
  folder_.write("tokenizer.json", "{\"model\": 1}");
  EXPECT_NE(fault_of(folder_.path()).find("tokenizer.json"), std::string::npos);
}

TEST_F(FolderText, ReadsVocabularyAndMerges) {
  fs::remove(folder_.file("tokenizer.json"));
  folder_.write("vocab.json", R"({"a": 0, "b": 1, "ab": 2, "Ġ": 3})");
  folder_.write("merges.txt", "#version: 0.2\na b\n");
  folder_.write("tokenizer_config.json",
                R"({"added_tokens_decoder": {"4": {"content": "<end>"}, "x": {"content": "?"}}})");
  const BuiltModel model = build_model(folder_.path(), testing::NamedTactics(), {});
  EXPECT_EQ(model.load_tokenizer()->encode("ab<end>a"), (std::vector<int32_t>{2, 4, 0}));
  EXPECT_FALSE(build(folder_.path()).text.tokenizer.empty());
}

// One layer, float32, with a BPE vocabulary of 11 tokens and a rope divisor of 2.
std::string tiny_gguf() {
  constexpr uint32_t kUint32 = 4, kFloat32 = 6, kString = 8, kInt32 = 5, kF32 = 0;
  struct Row {
    const char* name;
    std::vector<uint64_t> dims;
  };
  const std::vector<Row> rows = {
      {"token_embd.weight", {4, 11}},       {"output_norm.weight", {4}},
      {"blk.0.attn_norm.weight", {4}},      {"blk.0.attn_q.weight", {4, 4}},
      {"blk.0.attn_k.weight", {4, 4}},      {"blk.0.attn_v.weight", {4, 4}},
      {"blk.0.attn_output.weight", {4, 4}}, {"blk.0.ffn_norm.weight", {4}},
      {"blk.0.ffn_gate.weight", {4, 4}},    {"blk.0.ffn_up.weight", {4, 4}},
      {"blk.0.ffn_down.weight", {4, 4}},    {"rope_freqs.weight", {1}}};
  testing::GgufWriter writer(3, rows.size(), 17);
  writer.key("general.architecture", kString).string("llama");
  writer.key("general.name", kString).string("Tiny");
  const std::pair<const char*, uint32_t> sizes[] = {
      {"llama.context_length", 64},       {"llama.embedding_length", 4},
      {"llama.block_count", 1},           {"llama.feed_forward_length", 4},
      {"llama.attention.head_count", 2},  {"tokenizer.ggml.bos_token_id", 0},
      {"tokenizer.ggml.eos_token_id", 1}, {"tokenizer.ggml.eot_token_id", 9}};
  for (const auto& [key, value] : sizes) writer.key(key, kUint32).number(value);
  writer.key("llama.attention.layer_norm_rms_epsilon", kFloat32).number(1e-5f);
  writer.key("tokenizer.chat_template", kString).string("{{ messages }}");
  writer.key("tokenizer.ggml.model", kString).string("gpt2");
  writer.key("tokenizer.ggml.pre", kString).string("gpt-2");
  using Strings = std::vector<std::string>;
  writer.array("tokenizer.ggml.tokens", kString,
               Strings{"<s>", "</s>", "a", "b", "c", "Ġ", "ab", "abc", "Ġab", "<tool>", ""});
  writer.array("tokenizer.ggml.token_type", kInt32,
               std::vector<int32_t>{3, 3, 1, 1, 1, 1, 1, 1, 1, 4, 5});
  writer.array("tokenizer.ggml.merges", kString, Strings{"a b", "ab c", "Ġ ab"});
  uint64_t offset = 0;
  for (const Row& row : rows) {
    writer.tensor(row.name, row.dims, kF32, offset);
    const uint64_t bytes = 4 * row.dims[0] * (row.dims.size() > 1 ? row.dims[1] : 1);
    offset += (bytes + 31) / 32 * 32;
  }
  writer.data(32, offset);
  testing::Bytes bytes = writer.bytes();
  const float divisor = 2;
  std::memcpy(bytes.data() + bytes.size() - 32, &divisor, sizeof divisor);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST(Builder, BuildsAGguf) {
  const Folder folder;
  const std::string path = folder.write("tiny.gguf", tiny_gguf());
  const Engine engine = build(path);
  EXPECT_EQ(engine.model.family, "llama");
  EXPECT_EQ(engine.model.name, "Tiny");
  EXPECT_EQ(engine.model.vocab_size, 11);
  EXPECT_EQ(engine.model.eos_token_ids, (std::vector<int32_t>{1, 9}));
  EXPECT_EQ(engine.model.bos_token_id, 0);
  EXPECT_EQ(engine.text.chat_template, "{{ messages }}");
  EXPECT_EQ(engine.text.bos_token, "<s>");
  EXPECT_EQ(engine.text.eos_token, "</s>");
  EXPECT_EQ(engine.plan.dtype, DType::kF32);
  EXPECT_TRUE(engine.weights.contains("model.layers.0.self_attn.q_proj.weight"));
  EXPECT_FALSE(engine.weights.contains("rope_freqs.weight"));
  for (const PlanValue& value : engine.plan.values) {
    if (value.kind == PlanValue::Kind::kConstant) {
      EXPECT_EQ(value.numbers, (std::vector<float>{0.5f}));
    }
  }
  write_engine(engine, folder.file("tiny.engine"));
  expect_same(engine, build(folder.file("tiny.engine")));
  for (const std::string& model : {path, folder.file("tiny.engine")})
    EXPECT_EQ(build_model(model, testing::NamedTactics(), {}).load_tokenizer()->encode("abc ab"),
              (std::vector<int32_t>{7, 8}));
}

TEST(Builder, SaysWhatAModelMayBe) {
  const Folder folder;
  const std::string config = folder.write("config.json", "{}");
  EXPECT_EQ(fault_of(config), "[" + config +
                                  "] a config alone has no weights; give its folder, or "
                                  "--load-format dummy for random ones");
  EXPECT_EQ(fault_of(folder.file("none")),
            "[" + folder.file("none") +
                "] a model must be a folder, a .safetensors, a .gguf or an engine file, got a path "
                "that does not exist");
  EXPECT_EQ(fault_of(folder.write("x.bin", "x"), {.dummy_weights = true}),
            "[" + folder.file("x.bin") + "] random weights need a config.json or its folder");
}

}  // namespace
}  // namespace brayton
