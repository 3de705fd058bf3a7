#include "backends/cuda/jit/compiler.h"

#include <algorithm>
#include <charconv>
#include <mutex>
#include <optional>

#include "backends/cuda/jit/nvrtc.h"
#include "backends/cuda/jit/source_closure.h"
#include "core/format.h"
#include "core/hash.h"

namespace brayton::cuda {
namespace {

constexpr std::string_view kOptions[] = {
    "--std=c++17",
    "-default-device",
    "--extra-device-vectorization",
    "--ptxas-options=-v",
    "--ptxas-options=--warn-on-spills",
};
// Raised when program_text() makes something else of the same sources.
constexpr uint64_t kRecipe = 1;
constexpr int kMaxErrorLines = 5;

std::string source_path(const KernelSpec& spec) { return format("kernels/{}.cuh", spec.source()); }

// 90 of "sm_90a" and "compute_90".
int arch_number(const std::string& arch) {
  std::string_view rest = arch;
  for (const std::string_view prefix : {"sm_", "compute_"})
    if (rest.starts_with(prefix)) rest.remove_prefix(prefix.size());
  int number = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
  const std::string_view suffix(end, static_cast<size_t>(rest.data() + rest.size() - end));
  if (error != std::errc() || rest.size() == arch.size() || number <= 0 ||
      (!suffix.empty() && suffix != "a" && suffix != "f"))
    throw_error(ErrorCode::kInvalidArgument,
                "[cuda] the architecture must be like sm_90a or compute_80, got '{}'", arch);
  return number;
}

// The lines that name errors, or the first ones.
std::string error_lines(std::string_view log) {
  std::string with_error, any;
  int errors = 0, lines = 0;
  for (std::string_view rest = log; !rest.empty();) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.empty()) continue;
    if (lines++ < kMaxErrorLines) any += format("\n  {}", line);
    if (line.find("error") != std::string_view::npos && errors++ < kMaxErrorLines)
      with_error += format("\n  {}", line);
  }
  return errors > 0 ? with_error : any;
}

// The kernel's source with its constants defined. They are no -D options: NVRTC's built-in header
// and device/ have template parameters called T and N, so these are read before.
std::string program_text(const KernelSpec& spec, std::span<const EmbeddedSource> closure) {
  std::string text;
  for (const EmbeddedSource& source : closure)
    if (source.path.starts_with("device/")) text += format("#include \"{}\"\n", source.path);
  for (const KernelSpec::Constant& constant : spec) {
    if (constant.text.empty())
      text += format("#define {} {}\n", constant.name, constant.value);
    else
      text += format("#define {} {}\n", constant.name, constant.text);
  }
  return text + format("#line 1 \"{}\"\n{}", closure[0].path, closure[0].text);
}

class Program {
 public:
  Program(const Nvrtc& nvrtc, const std::string& text, std::span<const EmbeddedSource> closure)
      : nvrtc_(nvrtc) {
    // NVRTC wants zero-terminated texts.
    std::vector<std::string> paths, texts;
    for (const EmbeddedSource& source : closure) {
      paths.emplace_back(source.path);
      texts.emplace_back(source.text);
    }
    std::vector<const char*> path_pointers, text_pointers;
    for (size_t i = 1; i < closure.size(); ++i) {
      path_pointers.push_back(paths[i].c_str());
      text_pointers.push_back(texts[i].c_str());
    }
    check(nvrtc_.nvrtcCreateProgram(&program_, text.c_str(), paths[0].c_str(),
                                    static_cast<int>(path_pointers.size()), text_pointers.data(),
                                    path_pointers.data()),
          "nvrtcCreateProgram");
  }
  ~Program() { nvrtc_.nvrtcDestroyProgram(&program_); }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  nvrtcResult compile(const std::vector<std::string>& options) {
    std::vector<const char*> pointers;
    for (const std::string& option : options) pointers.push_back(option.c_str());
    return nvrtc_.nvrtcCompileProgram(program_, static_cast<int>(pointers.size()), pointers.data());
  }
  std::string log() const {
    size_t size = 0;
    check(nvrtc_.nvrtcGetProgramLogSize(program_, &size), "nvrtcGetProgramLogSize");
    std::string text(size, '\0');
    check(nvrtc_.nvrtcGetProgramLog(program_, text.data()), "nvrtcGetProgramLog");
    text.resize(std::min(text.find('\0'), text.size()));
    return text;
  }
  std::vector<std::byte> image(bool ptx) const {
    const auto get_size = ptx ? nvrtc_.nvrtcGetPTXSize : nvrtc_.nvrtcGetCUBINSize;
    const auto get = ptx ? nvrtc_.nvrtcGetPTX : nvrtc_.nvrtcGetCUBIN;
    size_t size = 0;
    check(get_size(program_, &size), ptx ? "nvrtcGetPTXSize" : "nvrtcGetCUBINSize");
    std::vector<std::byte> bytes(size);
    check(get(program_, reinterpret_cast<char*>(bytes.data())),
          ptx ? "nvrtcGetPTX" : "nvrtcGetCUBIN");
    return bytes;
  }

 private:
  void check(nvrtcResult result, const char* call) const {
    if (result != NVRTC_SUCCESS)
      throw_error(ErrorCode::kEnvironment, "[cuda] {} failed: {}", call,
                  nvrtc_.nvrtcGetErrorString(result));
  }

  const Nvrtc& nvrtc_;
  nvrtcProgram program_ = nullptr;
};

}  // namespace

struct Compiler::State {
  const std::string folders;
  const std::span<const EmbeddedSource> sources;
  std::mutex mutex;
  std::optional<Nvrtc> opened;

  const Nvrtc& nvrtc() {
    const std::lock_guard lock(mutex);
    if (!opened) opened = Nvrtc::open(folders);
    return *opened;
  }
};

Compiler::Compiler(std::string folders, std::span<const EmbeddedSource> sources)
    : state_(new State{std::move(folders), sources, {}, {}}) {}

std::string Compiler::nvrtc_version() const {
  const Nvrtc& nvrtc = state_->nvrtc();
  return format("{}.{}", nvrtc.major, nvrtc.minor);
}

std::string Compiler::key(const KernelSpec& spec, const std::string& arch) const {
  uint64_t hash = hash_sources(source_closure(state_->sources, source_path(spec))) ^ kRecipe;
  for (const std::string_view option : kOptions)
    hash = hash64(std::as_bytes(std::span(option)), hash);
  return format("{} {:016x} {}", arch, hash, spec.str());
}

CompiledKernel Compiler::compile(const KernelSpec& spec, const std::string& arch) const {
  const int number = arch_number(arch);
  const std::vector<EmbeddedSource> closure = source_closure(state_->sources, source_path(spec));
  const Nvrtc& nvrtc = state_->nvrtc();
  if (!nvrtc.archs.empty() && !std::ranges::binary_search(nvrtc.archs, number))
    throw_error(ErrorCode::kUnsupported,
                "[cuda] NVRTC {}.{} ({}) cannot compile for {}, only for compute capabilities {}: "
                "install another version of it",
                nvrtc.major, nvrtc.minor, nvrtc.path, arch, fmt::join(nvrtc.archs, ", "));

  std::vector<std::string> options{"--gpu-architecture=" + arch};
  options.insert(options.end(), std::begin(kOptions), std::end(kOptions));
  Program program(nvrtc, program_text(spec, closure), closure);
  const nvrtcResult result = program.compile(options);
  const std::string log = program.log();
  if (result != NVRTC_SUCCESS)
    throw_error(ErrorCode::kInternal, "[cuda] {} does not compile for {} ({}):{}", spec.str(), arch,
                nvrtc.nvrtcGetErrorString(result), error_lines(log));
  return {program.image(arch.starts_with("compute_")), std::string(spec.entry()),
          parse_compile_log(log, spec.entry())};
}

}  // namespace brayton::cuda
