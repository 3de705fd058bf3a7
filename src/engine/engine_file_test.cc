// An engine file gives back what was written, and one that was cut, altered or forged is refused
// with its path and the section at fault; nothing is ever read outside the map.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "brayton/error.h"
#include "core/mapped_file.h"
#include "engine/engine.h"
#include "engine/file_layout.h"
#include "testing/mutate.h"

namespace brayton {
namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<std::byte>;

// embedding -> linear over two weights, one of which needs padding before it.
Engine small_engine() {
  static const std::vector<float> table = [] {
    std::vector<float> numbers(5 * 7);
    for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<float>(i) / 8;
    return numbers;
  }();
  static const std::vector<uint16_t> head(5 * 7, 0x3f80);
  Engine engine;
  engine.model.family = "llama";
  engine.model.name = "small";
  engine.model.vocab_size = 5;
  engine.model.hidden_size = 7;
  engine.model.eos_token_ids = {2, 4};
  engine.model.bos_token_id = 1;
  engine.model.generation = {{"temperature", 0.5}};
  engine.text.tokenizer_kind = 1;
  for (char c : std::string("tokenizer bytes \0 of any kind", 29))
    engine.text.tokenizer.push_back(static_cast<std::byte>(c));
  engine.text.chat_template = "{{ messages }} é";
  engine.text.bos_token = "<s>";
  engine.graph = "graph small {\n}\n";
  engine.weights["head"] = {head.data(), DType::kBF16, {5, 7}};
  engine.weights["table"] = {table.data(), DType::kF32, {5, 7}};
  const auto add = [&](PlanValue::Kind kind, const std::string& type, const std::string& name) {
    PlanValue value;
    value.kind = kind;
    value.type = parse_value_type(type);
    value.name = name;
    engine.plan.values.push_back(value);
  };
  add(PlanValue::Kind::kInput, "i32[T]", "token_ids");
  add(PlanValue::Kind::kWeight, "f32[5, 7]", "table");
  add(PlanValue::Kind::kWeight, "bf16[5, 7]", "head");
  add(PlanValue::Kind::kActivation, "f32[T, 7]", "");
  add(PlanValue::Kind::kActivation, "f32[T, 5]", "");
  engine.plan.steps = {{"embedding", "", {0, 1}, {3}, {}}, {"linear", "x", {3, 2}, {4}, {}}};
  engine.plan.logits = 4;
  return engine;
}

// A folder of its own, gone at the end.
struct Folder {
  Folder()
      : path(fs::temp_directory_path() / ("brayton_engine_test." + std::to_string(::getpid()))) {
    fs::create_directories(path);
  }
  ~Folder() { fs::remove_all(path); }
  std::string file(const std::string& name) const { return (path / name).string(); }
  fs::path path;
};

Bytes read_all(const std::string& path) {
  const auto file = MappedFile::open(path);
  return {file->bytes().begin(), file->bytes().end()};
}

const Bytes& small_file() {
  static const Bytes bytes = [] {
    const Folder folder;
    write_engine(small_engine(), folder.file("small.engine"));
    return read_all(folder.file("small.engine"));
  }();
  return bytes;
}

Engine open_bytes(const Bytes& bytes) { return open_engine(MappedFile::from_bytes("FILE", bytes)); }

std::string fault_of(const Bytes& bytes) {
  try {
    open_bytes(bytes);
  } catch (const Error& fault) {
    EXPECT_NE(fault.code(), ErrorCode::kInternal) << fault.what();
    return fault.what();
  }
  return "no fault";
}

TEST(EngineFile, GivesBackWhatWasWritten) {
  const Folder folder;
  const std::string path = folder.file("small.engine");
  const Engine engine = small_engine();
  int64_t reported = 0;
  write_engine(engine, path, [&](int64_t done, int64_t total) {
    EXPECT_LE(reported, done);
    EXPECT_LE(done, total);
    reported = done;
  });
  EXPECT_EQ(reported, static_cast<int64_t>(fs::file_size(path)));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path), {}), 1);  // no temporary file
  EXPECT_TRUE(is_engine_file(path));

  const Engine back = open_engine(path);
  EXPECT_EQ(back.model.name, "small");
  EXPECT_EQ(back.model.eos_token_ids, engine.model.eos_token_ids);
  EXPECT_EQ(back.model.bos_token_id, 1);
  EXPECT_EQ(back.model.generation, engine.model.generation);
  EXPECT_EQ(back.text.tokenizer_kind, 1);
  EXPECT_EQ(back.text.tokenizer, engine.text.tokenizer);
  EXPECT_EQ(back.text.chat_template, engine.text.chat_template);
  EXPECT_EQ(back.text.bos_token, "<s>");
  EXPECT_EQ(back.text.eos_token, "");
  EXPECT_EQ(back.graph, engine.graph);
  EXPECT_EQ(to_json(back.plan), to_json(engine.plan));
  EXPECT_EQ(back.weight_bytes(), 5 * 7 * (4 + 2));
  for (const auto& [name, tensor] : engine.weights) {
    const TensorView& read = back.weights.at(name);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(read.data) % 64, 0u) << name;
    EXPECT_EQ(read.shape, tensor.shape) << name;
    ASSERT_EQ(read.dtype, tensor.dtype) << name;
    EXPECT_EQ(std::memcmp(read.data, tensor.data, static_cast<size_t>(tensor.bytes())), 0) << name;
    back.release(read);  // the data stays
    EXPECT_EQ(std::memcmp(read.data, tensor.data, static_cast<size_t>(tensor.bytes())), 0) << name;
  }
}

TEST(EngineFile, HashesWeightsOfManyChunks) {
  const Folder folder;
  Engine engine = small_engine();
  std::vector<uint32_t> large((2 * kHashChunk + 4096) / 4);
  for (size_t i = 0; i < large.size(); ++i) large[i] = static_cast<uint32_t>(i * 2654435761u);
  const auto size = static_cast<int64_t>(large.size());
  engine.weights["large"] = {large.data(), DType::kF32, {size}};
  write_engine(engine, folder.file("large.engine"));
  const Engine back = open_engine(folder.file("large.engine"));
  EXPECT_EQ(std::memcmp(back.weights.at("large").data, large.data(), large.size() * 4), 0);

  Bytes bytes = read_all(folder.file("large.engine"));
  bytes[static_cast<size_t>(kHashChunk + 123456)] ^= std::byte{1};
  EXPECT_NE(fault_of(bytes).find("[FILE] section 'weights' is damaged: its hash must be "),
            std::string::npos);
}

TEST(EngineFile, WritesNothingWhenItFails) {
  const Folder folder;
  EXPECT_THROW(write_engine(small_engine(), folder.file("none/small.engine")), Error);
  Engine engine = small_engine();
  engine.text.chat_template = "\xff";
  EXPECT_THROW(write_engine(engine, folder.file("small.engine")), Error);
  EXPECT_TRUE(fs::is_empty(folder.path));
  EXPECT_FALSE(is_engine_file(folder.file("small.engine")));
}

TEST(EngineFile, RefusesEveryFlippedBit) {
  const Bytes& good = small_file();
  ASSERT_EQ(fault_of(good), "no fault");
  Bytes bytes = good;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const std::byte bit{static_cast<uint8_t>(1u << (i % 8))};
    bytes[i] ^= bit;
    const std::string fault = fault_of(bytes);
    ASSERT_TRUE(fault.starts_with("[FILE") && fault.find("section '") != std::string::npos)
        << "byte " << i << ": " << fault;
    bytes[i] ^= bit;
  }
}

TEST(EngineFile, RefusesEveryTruncation) {
  const Bytes& good = small_file();
  for (size_t size = 0; size < good.size(); size += size < 1024 ? 1 : 97) {
    const std::string fault = fault_of(Bytes(good.begin(), good.begin() + static_cast<int>(size)));
    ASSERT_TRUE(fault.starts_with("[FILE] section 'header'")) << size << ": " << fault;
  }
  Bytes longer = good;
  longer.push_back(std::byte{0});
  EXPECT_TRUE(fault_of(longer).starts_with("[FILE] section 'header' says "));
}

// --- forged files: hashes fit, contents lie
// -------------------------------------------------------

struct Forge {
  std::vector<std::pair<std::string, std::string>> sections;

  Forge() {
    const auto file = MappedFile::from_bytes("FILE", small_file());
    for (const Section& section : read_sections(*file))
      sections.emplace_back(
          section.name,
          std::string(reinterpret_cast<const char*>(section.bytes.data()), section.bytes.size()));
  }

  std::string& operator[](const std::string& name) {
    for (auto& [known, text] : sections)
      if (known == name) return text;
    return sections.emplace_back(name, "").second;
  }

  Bytes write(uint32_t major = kEngineMajor, uint32_t minor = kEngineMinor) const {
    std::vector<SectionEntry> table;
    Bytes bytes(sizeof(EngineHeader) + sections.size() * sizeof(SectionEntry));
    for (const auto& [name, text] : sections) {
      bytes.resize((bytes.size() + 4095) / 4096 * 4096);
      SectionEntry entry{};
      std::memcpy(entry.name, name.data(), name.size());
      entry.offset = bytes.size();
      entry.bytes = text.size();
      const auto content = testing::as_bytes(text);
      const std::vector<uint64_t> chunks(text.empty() ? 0 : 1, chunk_hash(content));
      entry.hash = section_hash(chunks, text.size());
      table.push_back(entry);
      bytes.insert(bytes.end(), content.begin(), content.end());
    }
    EngineHeader header{};
    std::memcpy(header.magic, kEngineMagic, sizeof kEngineMagic);
    header.major = major;
    header.minor = minor;
    header.file_bytes = bytes.size();
    header.sections = static_cast<uint32_t>(table.size());
    header.hash = header_hash(header, table);
    std::memcpy(bytes.data(), &header, sizeof header);
    std::memcpy(bytes.data() + sizeof header, table.data(), table.size() * sizeof(SectionEntry));
    return bytes;
  }

  void replace(const std::string& section, const std::string& from, const std::string& to) {
    std::string& text = (*this)[section];
    const size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from << " in " << text;
    text.replace(at, from.size(), to);
  }
};

std::string forged(const std::string& section, const std::string& from, const std::string& to) {
  Forge forge;
  forge.replace(section, from, to);
  return fault_of(forge.write());
}

TEST(EngineFile, ReadsUnknownSectionsAndNewerMinorVersions) {
  Forge forge;
  forge["kernels of tomorrow"] = "bytes";
  forge.replace("model", "{", "{\"field of tomorrow\":[1,{}],");
  EXPECT_EQ(open_bytes(forge.write(kEngineMajor, kEngineMinor + 7)).model.name, "small");
}

TEST(EngineFile, RefusesOtherMajorVersions) {
  const Forge forge;
  EXPECT_EQ(
      fault_of(forge.write(2, 3)),
      "[FILE] section 'header': version must be 1.x, got 2.3; open it with a newer Brayton, or "
      "build the engine again with this one");
  EXPECT_EQ(fault_of(forge.write(0, 9)),
            "[FILE] section 'header': version must be 1.x, got 0.9; build the engine again");
}

TEST(EngineFile, RefusesForgedContents) {
  EXPECT_EQ(
      forged("weight_index", R"("shape":[5,7],"offset":0)", R"("shape":[5,70],"offset":0)"),
      "[FILE: section 'weight_index'] tensor 'head' must lie aligned in 268 bytes of weights, "
      "got [0, +700)");
  EXPECT_EQ(
      forged("weight_index", R"("offset":128)", R"("offset":132)"),
      "[FILE: section 'weight_index'] tensor 'table' must lie aligned in 268 bytes of weights, "
      "got [132, +140)");
  EXPECT_EQ(
      forged("weight_index", R"("offset":128)", R"("offset":-64)"),
      "[FILE: section 'weight_index': [1]] field 'offset' must be an integer in [0, 268], got "
      "-64");
  EXPECT_EQ(forged("weight_index", R"([5,7])", R"([1099511627776,1099511627776])"),
            "[FILE: section 'weight_index'] [tensor] [1099511627776, 1099511627776] in bf16 must "
            "have fewer "
            "than 2^63 bytes");
  EXPECT_EQ(forged("weight_index", R"([5,7])", R"([1,1,1,1,1,5,7])"),
            "[FILE: section 'weight_index': [0]] field 'shape' must have at most 6 sizes, got 7");
  EXPECT_EQ(forged("weight_index", R"("name":"head")", R"("name":"table")"),
            "[FILE: section 'weight_index'] tensor 'table' must be listed once");
  EXPECT_EQ(forged("weight_index", R"("name":"head")", R"("name":"tail")"),
            "[FILE: section 'plan'] weight 'head' is missing in the file");
  EXPECT_EQ(forged("plan", "f32[5, 7]", "f32[7, 5]"),
            "[FILE: section 'plan'] weight 'table' must be f32[7, 5], got f32[5, 7]");
  EXPECT_EQ(forged("plan", "f32[T, 5]", "f32[T, 6]"),
            "[FILE: section 'plan'] logits must have 5 columns, got f32[T, 6]");
  EXPECT_EQ(forged("plan", "f32[T, 5]", "f33[T, 5]"),
            "[FILE: section 'plan'] [type] no element type is called 'f33', in 'f33[T, 5]'");
  EXPECT_EQ(forged("model", R"("eos_token_ids":[2,4])", R"("eos_token_ids":[2,5])"),
            "[FILE: section 'model'] field 'eos_token_ids' must list integers in [0, 4], got 5");
  EXPECT_TRUE(forged("text", "{", "[").starts_with("[FILE: section 'text'] must be JSON"));
  Forge forge;
  forge.sections.erase(forge.sections.begin());
  EXPECT_EQ(fault_of(forge.write()), "[FILE] section 'model' is missing; build the engine again");
  Forge twice;
  twice.sections.push_back(twice.sections[0]);
  EXPECT_EQ(fault_of(twice.write()),
            "[FILE] section 'model' must be there once; build the engine again");
}

TEST(EngineFile, SurvivesForgedTables) {
  const Bytes good = Forge().write();
  for (uint64_t seed = 0; seed < 3000; ++seed) {
    testing::Mutator mutator(seed);
    Bytes bytes = good;
    EngineHeader header;
    std::memcpy(&header, bytes.data(), sizeof header);
    if (mutator.below(4) == 0) mutator.lie(bytes, offsetof(EngineHeader, sections), 4);
    const size_t entry = sizeof header + mutator.below(header.sections) * sizeof(SectionEntry);
    mutator.lie(bytes, entry + offsetof(SectionEntry, offset) + 8 * mutator.below(2), 8);
    std::memcpy(&header, bytes.data(), sizeof header);
    const uint64_t rest = (bytes.size() - sizeof header) / sizeof(SectionEntry);
    std::vector<SectionEntry> table(std::min<uint64_t>(header.sections, rest));
    if (!table.empty())
      std::memcpy(table.data(), bytes.data() + sizeof header, table.size() * sizeof(SectionEntry));
    header.hash = header_hash(header, table);
    std::memcpy(bytes.data(), &header, sizeof header);
    if (bytes == good) continue;
    ASSERT_TRUE(fault_of(bytes).starts_with("[FILE] section '")) << "seed " << seed;
  }
}

TEST(EngineFile, SurvivesForgedSections) {
  for (uint64_t seed = 0; seed < 3000; ++seed) {
    testing::Mutator mutator(seed);
    Forge forge;
    const char* const names[] = {"model", "plan", "text", "weight_index"};
    std::string& text = forge[names[mutator.below(std::size(names))]];
    text = mutator.mutate_json(text);
    const std::string fault = fault_of(forge.write());  // fails on internal errors
    ASSERT_FALSE(HasFailure()) << "seed " << seed << ": " << fault;
  }
}

}  // namespace
}  // namespace brayton
