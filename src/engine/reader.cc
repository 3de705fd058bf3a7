#include <algorithm>
#include <cstring>
#include <fstream>

#include "core/check.h"
#include "core/mapped_file.h"
#include "engine/file_layout.h"
#include "engine/sections.h"

namespace brayton {
namespace {

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class Reader {
 public:
  explicit Reader(const MappedFile& file) : file_(file), sections_(read_sections(file)) {}

  Engine read() const {
    Engine engine;
    in("model", [&] { engine.model = model_from_json(json("model"), where("model")); });
    in("text", [&] { engine.text = text_from_json(json("text"), where("text")); });
    const auto tokenizer = section("tokenizer");
    engine.text.tokenizer.assign(tokenizer.begin(), tokenizer.end());
    engine.graph = text_of(section("graph"));
    in("weight_index", [&] {
      engine.weights =
          weights_from_json(json("weight_index"), section("weights"), where("weight_index"));
    });
    if (has("kernel_index")) in("kernel_index", [&] { read_kernels(engine); });
    in("plan", [&] {
      engine.plan = plan_from_json(json("plan"), where("plan"));
      check_agreement(engine);
    });
    return engine;
  }

 private:
  std::string where(const char* name) const {
    return format("{}: section '{}'", file_.path(), name);
  }

  bool has(const std::string& name) const {
    return std::ranges::any_of(sections_, [&](const Section& s) { return s.name == name; });
  }

  void read_kernels(Engine& engine) const {
    for (const auto& [key, image] :
         weights_from_json(json("kernel_index"), section("kernels"), where("kernel_index"))) {
      const auto* begin = static_cast<const std::byte*>(image.data);
      engine.kernels[key].assign(begin, begin + image.bytes());
    }
  }

  std::span<const std::byte> section(const std::string& name) const {
    for (const Section& section : sections_)
      if (section.name == name) return section.bytes;
    throw_error(ErrorCode::kInvalidModel, "[{}] section '{}' is missing; build the engine again",
                file_.path(), name);
  }

  Json json(const char* name) const { return parse_json(text_of(section(name)), where(name)); }

  // Faults found by lower layers get the file's path and the section's name.
  template <class Read>
  void in(const char* name, const Read& read) const {
    try {
      read();
    } catch (const Error& fault) {
      const std::string text = fault.what();
      if (text.find(file_.path()) != std::string::npos) throw;
      throw_error(ErrorCode::kInvalidModel, "[{}] {}", where(name), text);
    }
  }

  void check_agreement(const Engine& engine) const {
    for (const PlanValue& value : engine.plan.values) {
      if (value.kind != PlanValue::Kind::kWeight) continue;
      const auto weight = engine.weights.find(value.name);
      if (weight == engine.weights.end())
        throw_error(ErrorCode::kInvalidModel, "[{}] weight '{}' is missing in the file",
                    where("plan"), value.name);
      if (weight->second.dtype != value.type.dtype || weight->second.shape != value.type.shape())
        throw_error(ErrorCode::kInvalidModel, "[{}] weight '{}' must be {}, got {}{}",
                    where("plan"), value.name, value.type.str(), dtype_name(weight->second.dtype),
                    weight->second.shape.str());
    }
    const ValueType& logits = engine.plan.values[engine.plan.logits].type;
    if (logits.rank() != 2 || logits.dims[1] != Dim(engine.model.vocab_size))
      throw_error(ErrorCode::kInvalidModel, "[{}] logits must have {} columns, got {}",
                  where("plan"), engine.model.vocab_size, logits.str());
  }

  const MappedFile& file_;
  std::vector<Section> sections_;
};

}  // namespace

Engine open_engine(const std::string& path) { return open_engine(MappedFile::open(path)); }

Engine open_engine(std::shared_ptr<const MappedFile> file) {
  Engine engine = Reader(*file).read();
  engine.owner = file;
  engine.release = [map = file.get()](const TensorView& tensor) {
    map->drop_pages(tensor.data, static_cast<size_t>(tensor.bytes()));
  };
  return engine;
}

bool is_engine_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  char magic[sizeof kEngineMagic];
  return file.read(magic, sizeof magic) &&
         std::memcmp(magic, kEngineMagic, sizeof kEngineMagic) == 0;
}

int64_t Engine::weight_bytes() const {
  int64_t bytes = 0;
  for (const auto& [name, tensor] : weights) bytes += tensor.bytes();
  return bytes;
}

}  // namespace brayton
