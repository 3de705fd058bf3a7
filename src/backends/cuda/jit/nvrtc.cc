#include "backends/cuda/jit/nvrtc.h"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>

#include "core/format.h"

namespace brayton::cuda {
namespace {

namespace fs = std::filesystem;

constexpr std::array kMajors = {13, 12};
constexpr std::array kToolkitFolders = {"/usr/local/cuda/lib64", "/opt/cuda/lib64"};

std::vector<std::string> split(const std::string& folders) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= folders.size();) {
    const size_t end = std::min(folders.find(':', begin), folders.size());
    if (end > begin) parts.push_back(folders.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

// NVRTC opens its built-in headers by name when it first compiles; a library of that name that is
// open already is taken from wherever it lies.
void open_builtins(const fs::path& folder, int major) {
  const std::string prefix = format("libnvrtc-builtins.so.{}", major);
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    if (it->path().filename().string().starts_with(prefix))
      dlopen(it->path().c_str(), RTLD_NOW | RTLD_GLOBAL);
}

std::string path_of_symbol(void* symbol) {
  Dl_info info{};
  return dladdr(symbol, &info) != 0 && info.dli_fname ? info.dli_fname : "";
}

// Nothing where the library cannot be opened or lacks a function: `faults` says which.
std::optional<Nvrtc> open_library(const std::string& path, int major,
                                  std::vector<std::string>& faults) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    faults.emplace_back(dlerror());
    return std::nullopt;
  }
  Nvrtc nvrtc;
  const char* missing = nullptr;
#define BRAYTON_NVRTC_LOAD(name)                                              \
  nvrtc.name = reinterpret_cast<decltype(nvrtc.name)>(dlsym(library, #name)); \
  if (!nvrtc.name) missing = #name;
  BRAYTON_NVRTC(BRAYTON_NVRTC_LOAD)
#undef BRAYTON_NVRTC_LOAD
  int count = 0;
  if (missing) {
    faults.push_back(format("{} lacks {}", path, missing));
    return std::nullopt;
  }
  nvrtc.path = path_of_symbol(reinterpret_cast<void*>(nvrtc.nvrtcVersion));
  open_builtins(fs::path(nvrtc.path).parent_path(), major);
  nvrtc.nvrtcVersion(&nvrtc.major, &nvrtc.minor);
  if (nvrtc.nvrtcGetNumSupportedArchs(&count) == NVRTC_SUCCESS && count > 0) {
    nvrtc.archs.resize(static_cast<size_t>(count));
    nvrtc.nvrtcGetSupportedArchs(nvrtc.archs.data());
    std::ranges::sort(nvrtc.archs);
  }
  return nvrtc;
}

}  // namespace

Nvrtc Nvrtc::open(const std::string& folders) {
  std::vector<std::string> places = split(folders);
  places.emplace_back();  // the dynamic linker's
  places.insert(places.end(), kToolkitFolders.begin(), kToolkitFolders.end());
  std::vector<std::string> faults;
  for (const std::string& folder : places) {
    for (const int major : kMajors) {
      const std::string name = format("libnvrtc.so.{}", major);
      const std::string path = folder.empty() ? name : format("{}/{}", folder, name);
      std::error_code ignored;
      if (!folder.empty() && !fs::exists(path, ignored)) continue;
      if (auto nvrtc = open_library(path, major, faults)) return *nvrtc;
    }
  }
  std::erase(places, "");
  throw_error(ErrorCode::kEnvironment,
              "[cuda] NVRTC, which compiles the kernels, cannot be opened: install it with "
              "`pip install nvidia-cuda-nvrtc` or the CUDA toolkit (12.8 or later). Looked for "
              "libnvrtc.so.13 and libnvrtc.so.12 in {} and the dynamic linker's path ({})",
              fmt::join(places, ", "), fmt::join(faults, "; "));
}

}  // namespace brayton::cuda
