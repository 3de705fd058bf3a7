#include "backends/cuda/jit/source_closure.h"

#include <algorithm>
#include <optional>

#include "core/format.h"
#include "core/hash.h"

namespace brayton::cuda {
namespace {

std::string_view skip_spaces(std::string_view text) {
  return text.substr(std::min(text.find_first_not_of(" \t"), text.size()));
}

// The path in `#include "path"`.
std::optional<std::string_view> included_path(std::string_view line) {
  line = skip_spaces(line);
  if (!line.starts_with('#')) return std::nullopt;
  line = skip_spaces(line.substr(1));
  constexpr std::string_view kInclude = "include";
  if (!line.starts_with(kInclude)) return std::nullopt;
  line = skip_spaces(line.substr(kInclude.size()));
  if (!line.starts_with('"')) return std::nullopt;
  line.remove_prefix(1);
  return line.substr(0, line.find('"'));
}

}  // namespace

std::vector<EmbeddedSource> source_closure(std::span<const EmbeddedSource> sources,
                                           const std::string& path) {
  std::vector<EmbeddedSource> closure;
  const auto add = [&](std::string_view wanted, std::string_view from) {
    const auto same_path = [wanted](const EmbeddedSource& s) { return s.path == wanted; };
    if (std::ranges::any_of(closure, same_path)) return;
    const auto found = std::ranges::find_if(sources, same_path);
    if (found == sources.end())
      throw_error(ErrorCode::kInternal, "[cuda] no kernel source is called '{}'{}", wanted,
                  from.empty() ? "" : format(", which {} includes", from));
    closure.push_back(*found);
  };
  add(path, {});
  for (size_t i = 0; i < closure.size(); ++i) {
    const EmbeddedSource source = closure[i];
    for (std::string_view rest = source.text; !rest.empty();) {
      const size_t end = std::min(rest.find('\n'), rest.size());
      if (const auto included = included_path(rest.substr(0, end))) add(*included, source.path);
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }
  return closure;
}

uint64_t hash_sources(std::span<const EmbeddedSource> closure) {
  uint64_t seed = closure.size();
  for (const EmbeddedSource& source : closure) {
    seed = hash64(std::as_bytes(std::span(source.path)), seed);
    seed = hash64(std::as_bytes(std::span(source.text)), seed);
  }
  return seed;
}

}  // namespace brayton::cuda
