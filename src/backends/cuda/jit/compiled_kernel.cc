#include "backends/cuda/jit/compiled_kernel.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <set>

#include "core/json.h"

namespace brayton::cuda {
namespace {

constexpr std::string_view kMagic = "BRYKERN1";

// The number that stands right before `unit`, or 0: 168 in "Used 168 registers" before "
// registers".
int number_before(std::string_view line, std::string_view unit) {
  const size_t at = line.find(unit);
  if (at == std::string_view::npos) return 0;
  size_t begin = at;
  while (begin > 0 && line[begin - 1] >= '0' && line[begin - 1] <= '9') --begin;
  int value = 0;
  for (size_t i = begin; i < at && value < 100'000'000; ++i) value = value * 10 + (line[i] - '0');
  return value;
}

// x in "... function 'x' ..." and "... properties for x".
std::string_view name_after(std::string_view line, std::string_view words) {
  const size_t at = line.find(words);
  if (at == std::string_view::npos) return {};
  line.remove_prefix(at + words.size());
  return line.substr(0, line.find_first_of("' \r"));
}

// "(C7510)", "(C7508)", ...
bool has_remark(std::string_view line) {
  const size_t at = line.find("(C");
  if (at == std::string_view::npos || line.size() < at + 7) return false;
  const std::string_view digits = line.substr(at + 2, 4);
  return line[at + 6] == ')' &&
         std::ranges::all_of(digits, [](char c) { return c >= '0' && c <= '9'; });
}

// A truncated cubin must not reach the driver, which is not told the size.
bool plausible_image(std::span<const std::byte> image) {
  constexpr unsigned char kElf[] = {0x7f, 'E', 'L', 'F'};
  if (image.size() >= 64 && std::memcmp(image.data(), kElf, 4) == 0) {
    const auto field = [&](size_t at, size_t size) {
      uint64_t value = 0;
      std::memcpy(&value, image.data() + at, size);
      return value;
    };
    const uint64_t size = image.size();
    const auto fits = [size](uint64_t begin, uint64_t bytes) {
      return begin <= size && bytes <= size - begin;
    };
    return fits(field(32, 8), field(54, 2) * field(56, 2)) &&  // program headers
           fits(field(40, 8), field(58, 2) * field(60, 2));    // section headers
  }
  return !image.empty() && image.back() == std::byte{0} &&
         std::memchr(image.data(), 0, image.size()) == &image.back();
}

}  // namespace

KernelStats parse_compile_log(std::string_view log, std::string_view entry) {
  KernelStats stats;
  std::set<std::string_view> other_entries;
  std::string_view compiling, function;
  for (std::string_view rest = log; !rest.empty();) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (const auto name = name_after(line, "Compiling entry function '"); !name.empty()) {
      compiling = name;
      if (name != entry) other_entries.insert(name);
    } else if (const auto about = name_after(line, "Function properties for "); !about.empty()) {
      function = about;
    } else if (line.find(" bytes stack frame") != std::string_view::npos) {
      if (other_entries.contains(function)) continue;
      stats.stack_bytes = std::max(stats.stack_bytes, number_before(line, " bytes stack frame"));
      stats.spill_bytes +=
          number_before(line, " bytes spill stores") + number_before(line, " bytes spill loads");
    } else if (line.find(": Used ") != std::string_view::npos) {
      if (compiling != entry) continue;
      stats.registers = number_before(line, " registers");
      stats.shared_bytes = number_before(line, " bytes smem");
    } else if (has_remark(line) || line.find("warning") != std::string_view::npos) {
      if (!line.starts_with("Remark:")) stats.warnings.emplace_back(line);
    }
  }
  return stats;
}

std::vector<std::byte> pack_kernel(const CompiledKernel& kernel) {
  const Json header = {{"entry", kernel.entry},
                       {"registers", kernel.stats.registers},
                       {"shared_bytes", kernel.stats.shared_bytes},
                       {"spill_bytes", kernel.stats.spill_bytes},
                       {"stack_bytes", kernel.stats.stack_bytes},
                       {"warnings", kernel.stats.warnings}};
  const std::string text = header.dump(-1, ' ', false, Json::error_handler_t::replace);
  const auto size = static_cast<uint32_t>(text.size());
  std::vector<std::byte> bytes(kMagic.size() + sizeof(size) + text.size() + kernel.image.size());
  std::byte* at = bytes.data();
  const auto append = [&at](const void* data, size_t count) {
    if (count > 0) std::memcpy(at, data, count);
    at += count;
  };
  append(kMagic.data(), kMagic.size());
  append(&size, sizeof(size));
  append(text.data(), text.size());
  append(kernel.image.data(), kernel.image.size());
  return bytes;
}

std::optional<CompiledKernel> unpack_kernel(std::span<const std::byte> bytes) {
  uint32_t size = 0;
  if (bytes.size() < kMagic.size() + sizeof(size) ||
      std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0)
    return std::nullopt;
  std::memcpy(&size, bytes.data() + kMagic.size(), sizeof(size));
  bytes = bytes.subspan(kMagic.size() + sizeof(size));
  if (size > bytes.size() || !plausible_image(bytes.subspan(size))) return std::nullopt;
  CompiledKernel kernel;
  try {
    constexpr int64_t kMax = std::numeric_limits<int>::max();
    const Json json = parse_json({reinterpret_cast<const char*>(bytes.data()), size}, "kernel");
    const JsonReader header(json, "kernel");
    const auto number = [&header](const char* name) {
      return static_cast<int>(header.get_int({name}, 0, kMax));
    };
    kernel.entry = header.get_string({"entry"});
    kernel.stats = {number("registers"),
                    number("shared_bytes"),
                    number("spill_bytes"),
                    number("stack_bytes"),
                    {}};
    for (const Json& warning : json.at("warnings"))
      kernel.stats.warnings.push_back(warning.get<std::string>());
  } catch (const std::exception&) {
    return std::nullopt;
  }
  const auto image = bytes.subspan(size);
  kernel.image.assign(image.begin(), image.end());
  return kernel;
}

}  // namespace brayton::cuda
