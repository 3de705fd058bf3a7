// brayton inspect MODEL: what it is and what it needs.
#include <iostream>
#include <memory>

#include "cli/commands.h"
#include "cli/options.h"
#include "core/format.h"
#include "core/json.h"

namespace brayton {
namespace {

void print_text(const Json& info) {
  for (const auto& [key, value] : info.items()) {
    if (key == "tensors") {
      std::cout << format("{} tensors\n", value.size());
      for (const Json& tensor : value)
        std::cout << format("  {:<48} {:<8} {}\n", tensor["name"].get<std::string>(),
                            tensor["dtype"].get<std::string>(), tensor["shape"].dump());
    } else if (value.is_object()) {
      std::cout << key << '\n';
      for (const auto& [name, entry] : value.items())
        std::cout << format("  {:<24} {}\n", name,
                            entry.is_string() ? entry.get<std::string>() : entry.dump());
    } else {
      std::cout << format("{:<26} {}\n", key,
                          value.is_string() ? value.get<std::string>() : value.dump());
    }
  }
}

}  // namespace

void add_inspect(CLI::App& app) {
  auto o = std::make_shared<ModelOptions>();
  CLI::App* command = app.add_subcommand(
      "inspect", "Show a model's family, shapes, types, memory plan and kernels");
  add_model_options(*command, *o);
  command->callback([o] {
    const std::string json = inspect_json(o->model, load_options(*o));
    if (o->json)
      std::cout << json << '\n';
    else
      print_text(parse_json(json, "inspect"));
  });
}

}  // namespace brayton
