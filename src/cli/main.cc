// brayton: checkpoint -> engine -> tokens.
#include <cstdio>
#include <cstdlib>

#include "brayton/error.h"
#include "cli/commands.h"
#include "core/log.h"

namespace {

constexpr int kRunFailed = 1;
constexpr int kUsageOrModelWrong = 2;

int exit_code(brayton::ErrorCode code) {
  using brayton::ErrorCode;
  switch (code) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kInvalidModel:
    case ErrorCode::kUnsupported:
    case ErrorCode::kEnvironment:
      return kUsageOrModelWrong;
    case ErrorCode::kResourceExhausted:
    case ErrorCode::kCancelled:
    case ErrorCode::kInternal:
      break;
  }
  return kRunFailed;
}

void set_log_level_from_environment() {
  const char* level = std::getenv("BRAYTON_LOG");
  const std::string_view name = level ? level : "warning";
  brayton::set_log_level(name == "debug"  ? brayton::LogLevel::kDebug
                         : name == "info" ? brayton::LogLevel::kInfo
                         : name == "off"  ? brayton::LogLevel::kOff
                                          : brayton::LogLevel::kWarning);
}

}  // namespace

int main(int argc, char** argv) {
  set_log_level_from_environment();
  CLI::App app(
      "Brayton turns a language model's checkpoint into an engine and runs it.\n"
      "MODEL is a Hugging Face folder, a GGUF file or an engine file.\n");
  app.name("brayton");
  app.require_subcommand(1);
  app.footer(
      "Examples:\n"
      "  brayton run model.gguf --chat --prompt 'What is the capital of France?'\n"
      "  brayton build ./Llama-3.1-8B -o llama.engine\n"
      "  brayton eval nll model.gguf --text wiki.test.raw --window 512 --tokens 2048\n"
      "Exit codes: 0 done, 1 the run failed, 2 the command line or the model was wrong.\n"
      "BRAYTON_LOG=debug|info|warning|off sets what is logged to stderr.");
  brayton::add_run(app);
  brayton::add_build(app);
  brayton::add_inspect(app);
  brayton::add_eval(app);
  brayton::add_bench(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsageOrModelWrong;
  } catch (const brayton::Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return exit_code(error.code());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return kRunFailed;
  }
  return 0;
}
