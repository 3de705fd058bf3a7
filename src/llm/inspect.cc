// What a model is and what it needs, without loading its weights.
#include <map>

#include "brayton/llm.h"
#include "core/json.h"
#include "llm/device.h"
#include "llm/load.h"

namespace brayton {

std::string inspect_json(const std::string& model, const LoadOptions& options) {
  const auto backend = open_device(options);
  const BuiltModel built = build_model(model, *backend, build_options(options));
  const Engine& engine = built.engine;
  const ProgramOptions limits = program_options(options, engine, *backend);
  const MemoryPlan memory = Program::plan_memory(engine, *backend, limits);
  const EngineModel& m = engine.model;

  int64_t parameters = 0;
  std::map<std::string, int64_t> dtypes, kernels;
  Json tensors = Json::array();
  for (const auto& [name, tensor] : engine.weights) {
    parameters += tensor.elements();
    dtypes[std::string(dtype_name(tensor.dtype))] += tensor.bytes();
    tensors.push_back({{"name", name},
                       {"dtype", dtype_name(tensor.dtype)},
                       {"shape", std::vector<int64_t>(tensor.shape.begin(), tensor.shape.end())}});
  }
  for (const Instruction& step : engine.plan.steps)
    ++kernels[step.tactic.empty() ? step.op : step.op + ": " + step.tactic];

  return Json{{"family", m.family},
              {"name", m.name},
              {"parameters", parameters},
              {"dtype", dtype_name(engine.plan.dtype)},
              {"shapes",
               {{"vocab_size", m.vocab_size},
                {"hidden_size", m.hidden_size},
                {"layers", m.layers},
                {"heads", m.heads},
                {"kv_heads", m.kv_heads},
                {"head_dim", m.head_dim},
                {"max_positions", m.max_positions}}},
              {"weight_bytes_by_dtype", dtypes},
              {"device", backend->description()},
              {"memory_plan",
               {{"weights", memory.weights},
                {"kv", memory.kv},
                {"activations", memory.activations},
                {"activations_unshared", memory.activations_unshared},
                {"inputs", memory.inputs},
                {"total", memory.total()}}},
              {"limits",
               {{"max_num_tokens", limits.max_tokens},
                {"max_batch_size", limits.max_sequences},
                {"kv_block_size", limits.kv_block_size}}},
              {"kernels", kernels},
              {"chat_template", !engine.text.chat_template.empty()},
              {"eos_token_ids", m.eos_token_ids},
              {"tensors", tensors}}
      .dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace brayton
