// brayton eval nll|logits MODEL: how likely a model finds given text or ids.
#include <iostream>
#include <memory>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/progress_bar.h"
#include "core/format.h"
#include "core/json.h"
#include "core/mapped_file.h"

namespace brayton {
namespace {

struct NllOptions {
  ModelOptions model;
  std::string text;
  int64_t window = 512;
  int64_t tokens = 0;
};

void eval_nll(const NllOptions& o) {
  if (o.window < 2)
    throw_error(ErrorCode::kInvalidArgument, "[command line] --window must be at least 2, got {}",
                o.window);
  LLM llm(o.model.model, load_options(o.model));
  std::vector<int32_t> ids = llm.encode(read_text_file(o.text));
  if (o.tokens > 0 && o.tokens < static_cast<int64_t>(ids.size())) ids.resize(o.tokens);
  const int64_t windows = static_cast<int64_t>(ids.size()) / o.window;
  if (windows == 0)
    throw_error(
        ErrorCode::kInvalidArgument,
        "[command line] --text and --tokens must hold at least one window of {} tokens, got "
        "{} tokens",
        o.window, ids.size());
  ProgressBar bar;
  double sum = 0;
  Json by_window = Json::array();
  for (int64_t w = 0; w < windows; ++w) {
    bar.show("evaluate", w, windows);
    const auto first = ids.begin() + w * o.window;
    double of_window = 0;
    for (float nll : llm.score({first, first + o.window}).nll) of_window += nll;
    by_window.push_back(of_window / static_cast<double>(o.window - 1));
    sum += of_window;
  }
  bar.show("evaluate", windows, windows);
  const int64_t counted = windows * (o.window - 1);
  const double mean = sum / static_cast<double>(counted);
  if (o.model.json)
    std::cout << Json{{"mean_nll", mean},
                      {"windows", windows},
                      {"tokens", counted},
                      {"nll_of_windows", by_window}}
                     .dump()
              << '\n';
  else
    std::cout << format("mean NLL {:.5f} (perplexity {:.3f}) over {} windows of {} tokens\n", mean,
                        std::exp(mean), windows, o.window);
}

void eval_logits(const ModelOptions& o, const std::string& ids) {
  LLM llm(o.model, load_options(o));
  const Score score = llm.score(parse_ids(ids, "--ids"));
  if (o.json) {
    std::cout << Json{{"last_logits", score.last_logits}, {"nll", score.nll}}.dump() << '\n';
    return;
  }
  std::cout << format("nll: {}\nlast logits: {}\n", fmt::join(score.nll, " "),
                      fmt::join(score.last_logits, " "));
}

}  // namespace

void add_eval(CLI::App& app) {
  CLI::App* eval = app.add_subcommand("eval", "Measure how likely a model finds text");
  eval->require_subcommand(1);

  auto nll = std::make_shared<NllOptions>();
  CLI::App* nll_command = eval->add_subcommand(
      "nll", "Mean negative log-likelihood over windows, each from an empty context");
  add_model_options(*nll_command, nll->model);
  nll_command->add_option("--text", nll->text, "text file")->required()->type_name("FILE");
  nll_command->add_option("--window", nll->window, "tokens of a window; one less is counted")
      ->capture_default_str();
  nll_command->add_option("--tokens", nll->tokens, "use the text's first N tokens (0: all)");
  nll_command->callback([nll] { eval_nll(*nll); });

  auto model = std::make_shared<ModelOptions>();
  auto ids = std::make_shared<std::string>();
  CLI::App* logits_command = eval->add_subcommand(
      "logits", "Logits after the last id, and the NLL of each id but the first");
  add_model_options(*logits_command, *model);
  logits_command->add_option("--ids", *ids, "token ids: 1,2,3")->required();
  logits_command->callback([model, ids] { eval_logits(*model, *ids); });
}

}  // namespace brayton
