#include "builder/builder.h"

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "builder/dummy_weights.h"
#include "builder/model_text.h"
#include "builder/nominal_dtype.h"
#include "checkpoint/checkpoint.h"
#include "compile/plan/choose_kernels.h"
#include "core/check.h"
#include "core/log.h"
#include "models/families.h"
#include "ops/quant_blocks.h"

namespace brayton {
namespace {

namespace fs = std::filesystem;

struct Built {
  Engine engine;
  TokenizerSource tokenizer;
};

class Builder {
 public:
  Builder(const std::string& path, const Backend& backend, const BuildOptions& options,
          CompileReport* report)
      : path_(path), backend_(backend), options_(options), report_(report) {
    const std::optional<DType>& dtype = options.dtype;
    if (dtype && *dtype != DType::kF32 && *dtype != DType::kF16 && *dtype != DType::kBF16)
      throw_error(ErrorCode::kInvalidArgument, "[build] dtype must be f32, f16 or bf16, got {}",
                  dtype_name(*dtype));
  }

  Built run() {
    if (options_.dummy_weights) return from_config();
    if (fs::is_regular_file(path_) && is_engine_file(path_)) return from_engine();
    if (path_.ends_with(".json"))
      throw_error(ErrorCode::kInvalidArgument,
                  "[{}] a config alone has no weights; give its folder, or --load-format dummy for "
                  "random ones",
                  path_);
    const auto checkpoint = std::make_shared<const Checkpoint>(Checkpoint::open(path_));
    return checkpoint->format() == Checkpoint::Format::kGguf ? from_gguf(checkpoint)
                                                             : from_folder(checkpoint);
  }

 private:
  Built from_engine() const {
    Built built;
    built.engine = open_engine(path_);
    Plan& plan = built.engine.plan;
    if (options_.dtype && *options_.dtype != plan.dtype)
      throw_error(ErrorCode::kInvalidArgument,
                  "[{}] --dtype must be {}, as the engine was built, got {}; build it again with "
                  "another --dtype",
                  path_, dtype_name(plan.dtype), dtype_name(*options_.dtype));
    choose_kernels(plan, backend_);
    EngineText& text = built.engine.text;
    built.tokenizer.where = path_;
    built.tokenizer.kind = static_cast<Tokenizer::Kind>(text.tokenizer_kind);
    built.tokenizer.bytes = std::exchange(text.tokenizer, {});
    return built;
  }

  Built from_folder(const std::shared_ptr<const Checkpoint>& checkpoint) const {
    const JsonReader config(checkpoint->config(), *checkpoint->file("config.json"));
    const DType dtype = options_.dtype.value_or(
        dtype_of_config(config).value_or(dtype_of_tensors(checkpoint->tensors())));
    const auto lookup = [&](const std::string& name) { return info_of(checkpoint->find(name)); };
    Built built = compile_model(find_family(config).build(config, dtype, lookup));
    take_weights(built.engine, checkpoint->tensors(), checkpoint);
    const auto file = [&](const std::string& name) { return checkpoint->file(name); };
    take_text(built, read_folder_text(file, config));
    built.engine.model.name = name_of(path_);
    return built;
  }

  Built from_gguf(const std::shared_ptr<const Checkpoint>& checkpoint) const {
    const JsonReader metadata(checkpoint->config(), path_);
    const Family& family = find_gguf_family(metadata.get_string({"general.architecture"}), path_);
    std::map<std::string, TensorView> tensors;
    for (const auto& [name, tensor] : checkpoint->tensors())
      tensors[name_from_gguf(family, name)] = tensor;
    Json config_json = config_from_gguf(checkpoint->config(), path_);
    if (const TensorView* divisors = checkpoint->find("rope_freqs.weight"))
      config_json["rope_divisors"] = numbers_of(*divisors);
    const auto lookup = [&](const std::string& name) {
      const auto it = tensors.find(name);
      return info_of(it == tensors.end() ? nullptr : &it->second);
    };
    const DType dtype = options_.dtype.value_or(dtype_of_tensors(tensors));
    const JsonReader config(config_json, path_);
    Built built = compile_model(family.build(config, dtype, lookup));
    take_weights(built.engine, tensors, checkpoint);
    take_text(built, read_gguf_text(checkpoint));
    built.engine.model.name = metadata.get_string({"general.name"}, name_of(path_));
    return built;
  }

  Built from_config() const {
    const bool folder = fs::is_directory(path_);
    const fs::path config_path = folder ? fs::path(path_) / "config.json" : fs::path(path_);
    if (!folder && config_path.extension() != ".json")
      throw_error(ErrorCode::kInvalidArgument,
                  "[{}] random weights need a config.json or its folder", path_);
    const Json json = parse_json(read_text_file(config_path.string()), config_path.string());
    const JsonReader config(json, config_path.string());
    const DType dtype = options_.dtype.value_or(dtype_of_config(config).value_or(DType::kBF16));
    Built built = compile_model(find_family(config).build(config, dtype, {}));
    DummyWeights weights = make_dummy_weights(built.engine.plan, options_.dummy_seed);
    built.engine.weights = std::move(weights.tensors);
    built.engine.owner = std::move(weights.owner);
    const auto file = [&](const std::string& name) -> std::optional<std::string> {
      const fs::path path = config_path.parent_path() / name;
      return fs::is_regular_file(path) ? std::optional(path.string()) : std::nullopt;
    };
    take_text(built, read_folder_text(file, config));
    built.engine.model.name = name_of(path_);
    return built;
  }

  Built compile_model(ModelDefinition definition) const {
    Built built;
    Engine& engine = built.engine;
    engine.plan = compile(definition.graph, backend_, options_.compile, report_);
    engine.graph = print(definition.graph);
    const ModelInfo& info = definition.info;
    EngineModel& model = engine.model;
    model.family = info.family;
    model.vocab_size = engine.plan.values[engine.plan.logits].type.dims.back().size;
    model.hidden_size = info.hidden_size;
    model.layers = info.layers;
    model.heads = info.heads;
    model.kv_heads = info.kv_heads;
    model.head_dim = info.head_dim;
    model.max_positions = info.max_positions;
    return built;
  }

  static void take_weights(Engine& engine, const std::map<std::string, TensorView>& tensors,
                           const std::shared_ptr<const Checkpoint>& checkpoint) {
    for (const PlanValue& value : engine.plan.values)
      if (value.kind == PlanValue::Kind::kWeight)
        engine.weights[value.name] = tensors.at(value.name);
    engine.owner = checkpoint;
    engine.release = [checkpoint](const TensorView& tensor) { checkpoint->release(tensor); };
  }

  void take_text(Built& built, ModelText text) const {
    EngineModel& model = built.engine.model;
    const auto in_vocabulary = [&](int64_t id) { return id >= 0 && id < model.vocab_size; };
    for (int64_t id : text.eos_token_ids) {
      const auto token = static_cast<int32_t>(id);
      auto& ids = model.eos_token_ids;
      if (!in_vocabulary(id))
        log_warning("[{}] end token {} is not in the vocabulary of {}: ignored", path_, id,
                    model.vocab_size);
      else if (std::find(ids.begin(), ids.end(), token) == ids.end())
        ids.push_back(token);
    }
    if (in_vocabulary(text.bos_token_id))
      model.bos_token_id = static_cast<int32_t>(text.bos_token_id);
    model.generation = std::move(text.generation);
    built.engine.text = std::move(text.text);
    built.tokenizer = std::move(text.tokenizer);
  }

  static std::optional<WeightInfo> info_of(const TensorView* tensor) {
    if (!tensor) return std::nullopt;
    return WeightInfo{tensor->dtype, tensor->shape};
  }

  std::vector<float> numbers_of(const TensorView& tensor) const {
    if (tensor.rank() != 1 || !is_float(tensor.dtype))
      throw_error(ErrorCode::kInvalidModel,
                  "[{}] tensor 'rope_freqs.weight' must be a list of floats, got {}{}", path_,
                  dtype_name(tensor.dtype), tensor.shape.str());
    std::vector<float> numbers(static_cast<size_t>(tensor.elements()));
    to_f32(tensor.dtype, tensor.data, tensor.elements(), numbers.data());
    return numbers;
  }

  static std::string name_of(const std::string& path) {
    fs::path full = fs::absolute(path).lexically_normal();
    if (!full.has_filename()) full = full.parent_path();
    return fs::is_directory(full) ? full.filename().string() : full.stem().string();
  }

  const std::string& path_;
  const Backend& backend_;
  const BuildOptions& options_;
  CompileReport* report_;
};

Built build(const std::string& model, const Backend& backend, const BuildOptions& options,
            BuildReport* report) {
  const auto start = std::chrono::steady_clock::now();
  Built built = Builder(model, backend, options, report ? &report->compile : nullptr).run();
  if (report)
    report->seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return built;
}

}  // namespace

BuiltModel build_model(const std::string& model, const Backend& backend,
                       const BuildOptions& options, BuildReport* report) {
  Built built = build(model, backend, options, report);
  return {std::move(built.engine), [source = std::move(built.tokenizer)] { return source.load(); }};
}

Engine build_engine(const std::string& model, const Backend& backend, const BuildOptions& options,
                    BuildReport* report) {
  const auto start = std::chrono::steady_clock::now();
  Built built = build(model, backend, options, report);
  EngineText& text = built.engine.text;
  if (const std::optional<Tokenizer> tokenizer = built.tokenizer.load()) {
    text.tokenizer_kind = static_cast<uint8_t>(tokenizer->kind());
    text.tokenizer =
        built.tokenizer.bytes.empty() ? tokenizer->serialize() : std::move(built.tokenizer.bytes);
  }
  if (report)
    report->seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return std::move(built.engine);
}

}  // namespace brayton
