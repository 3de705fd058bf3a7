// A kernel's sources are its own and all it includes; a change in one of them, and in no other,
// changes the hash. What every source in the binary includes is in the binary.
#include "backends/cuda/jit/source_closure.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "brayton/error.h"

namespace brayton::cuda {
namespace {

std::vector<EmbeddedSource> tree() {
  return {
      {"device/a.cuh", "#pragma once\n#include \"device/b.cuh\"\n"},
      {"device/b.cuh", "# include\t\"device/a.cuh\"\n// #include \"device/none.cuh\"\nint b;"},
      {"device/c.cuh", "int c;\n"},
      {"kernels/k.cuh",
       "// head\n  #  include \"device/a.cuh\"  // why\n#include \"device/a.cuh\""},
  };
}

std::vector<std::string> paths(const std::vector<EmbeddedSource>& sources) {
  std::vector<std::string> names;
  for (const EmbeddedSource& source : sources) names.emplace_back(source.path);
  return names;
}

TEST(SourceClosureTest, FollowsIncludesOnce) {
  const auto closure = source_closure(tree(), "kernels/k.cuh");
  EXPECT_EQ(paths(closure),
            (std::vector<std::string>{"kernels/k.cuh", "device/a.cuh", "device/b.cuh"}));
}

TEST(SourceClosureTest, HashIsOfTheClosureOnly) {
  auto sources = tree();
  const auto hash = [&] { return hash_sources(source_closure(sources, "kernels/k.cuh")); };
  const uint64_t before = hash();
  sources[2].text = "int changed;";
  EXPECT_EQ(hash(), before);
  sources[1].text = "int changed;";
  EXPECT_NE(hash(), before);
}

TEST(SourceClosureTest, MissingSourcesAreNamed) {
  const auto message = [](const std::vector<EmbeddedSource>& sources, const char* path) {
    try {
      source_closure(sources, path);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EXPECT_EQ(message(tree(), "kernels/x.cuh"), "[cuda] no kernel source is called 'kernels/x.cuh'");
  auto sources = tree();
  sources[0].text = "#include \"device/x.cuh\"";
  EXPECT_EQ(message(sources, "kernels/k.cuh"),
            "[cuda] no kernel source is called 'device/x.cuh', which device/a.cuh includes");
}

TEST(EmbeddedSourcesTest, AreSortedAndComplete) {
  const auto sources = embedded_sources();
  ASSERT_FALSE(sources.empty());
  EXPECT_TRUE(std::ranges::is_sorted(sources, {}, &EmbeddedSource::path));
  for (const EmbeddedSource& source : sources) {
    EXPECT_TRUE(source.path.starts_with("device/") || source.path.starts_with("kernels/"));
    EXPECT_TRUE(source.path.ends_with(".cuh")) << source.path;
    EXPECT_TRUE(source.text.ends_with('\n')) << source.path;
    const auto closure = source_closure(sources, std::string(source.path));
    EXPECT_EQ(closure.front().path, source.path);
    // Nothing of the host's headers is needed where kernels are compiled.
    EXPECT_EQ(source.text.find("#include <"), std::string_view::npos) << source.path;
  }
}

}  // namespace
}  // namespace brayton::cuda
