// The text form of any graph parses back to the same text; damaged text is an Error that names the
// line, never a crash.
#include <gtest/gtest.h>

#include <bit>
#include <limits>
#include <random>

#include "graph/graph.h"
#include "testing/mutate.h"
#include "testing/op_test.h"

namespace brayton {
namespace {

using testing::error_of;

using Random = std::mt19937_64;

int64_t below(Random& random, int64_t end) {
  return static_cast<int64_t>(random() % static_cast<uint64_t>(end));
}

std::string random_string(Random& random) {
  std::string text;
  for (int64_t n = below(random, 12); n > 0; --n) text += static_cast<char>(below(random, 256));
  return text;
}

double random_double(Random& random) {
  switch (below(random, 5)) {
    case 0:
      return static_cast<double>(below(random, 100));
    case 1:
      return std::numeric_limits<double>::infinity();
    case 2:
      return -1e-300 * static_cast<double>(below(random, 1000));
    case 3:
      return std::bit_cast<double>(random());
    default:
      return 1.0 / (1.0 + static_cast<double>(below(random, 1000)));
  }
}

// Leaves with awkward names and numbers, then ops of one and two results on whatever fits.
Graph random_graph(Random& random) {
  Graph graph(format("g{}", below(random, 100)));
  std::vector<ValueId> activations;
  activations.push_back(
      graph.add_leaf("input", {DType::kF32, {Dim::of('T'), 8}}, {{"name", random_string(random)}}));
  const ValueId w =
      graph.add_leaf("weight", {DType::kBF16, {8}}, {{"name", random_string(random)}});
  const auto any = [&] { return activations[below(random, std::ssize(activations))]; };
  for (int64_t n = below(random, 20); n > 0; --n) {
    switch (below(random, 6)) {
      case 0: {
        std::vector<double> values(below(random, 4));
        for (double& value : values) value = random_double(random);
        graph.add_leaf("constant", {DType::kF32, {std::ssize(values)}}, {{"values", values}});
        break;
      }
      case 1:
        activations.push_back(graph.add("add", {any(), any()})[0]);
        break;
      case 2:
        activations.push_back(graph.add("scale", {any()}, {{"factor", random_double(random)}})[0]);
        break;
      case 3:
        for (ValueId y : graph.add("add_rms_norm", {any(), any(), w}, {{"eps", 1e-5}}))
          activations.push_back(y);
        break;
      case 4:
        activations.push_back(graph.add("layer_norm", {any(), w}, {{"eps", 0.5}})[0]);
        break;
      default:
        graph.add("reshape", {w}, {{"shape", std::vector<int64_t>{2, 2, 2}}});
    }
  }
  for (int64_t n = below(random, 3); n > 0; --n) graph.set_output(format("out{}", n), any());
  return graph;
}

TEST(GraphText, RandomGraphsRoundTrip) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(format("seed {}", seed));
  Random random(seed);
  for (int i = 0; i < 1000; ++i) {
    Graph graph = random_graph(random);
    const std::string text = print(graph);
    const Graph parsed = parse_graph(text);
    ASSERT_EQ(print(parsed), text);
    parsed.verify();
    ASSERT_EQ(parsed.nodes().size(), graph.nodes().size());
    ASSERT_EQ(parsed.outputs().size(), graph.outputs().size());
    for (size_t n = 0; n < graph.nodes().size(); ++n) {
      ASSERT_EQ(parsed.nodes()[n].inputs, graph.nodes()[n].inputs);
      if (text.find("nan") != std::string::npos) continue;  // which equals nothing
      ASSERT_EQ(parsed.nodes()[n].attributes, graph.nodes()[n].attributes);
    }
  }
}

TEST(GraphText, EscapesAndEmptyGraphsPrint) {
  Graph graph("text");
  const ValueId x = graph.add_leaf("input", {DType::kF32, {Dim::of('T'), 8}},
                                   {{"name", std::string("a\"b\\c\nd\x7f")}});
  graph.set_output("y", x);
  EXPECT_EQ(print(graph),
            "graph text {\n"
            "  %0 = input {name=\"a\\\"b\\\\c\\x0ad\x7f\"} : f32[T, 8]\n"
            "  return y=%0\n"
            "}\n");
  EXPECT_EQ(print(parse_graph("graph empty {\n  return\n}")), "graph empty {\n  return\n}\n");
}

// The error of a graph whose third line is `line`.
std::string error_in(const std::string& line) {
  const char* form = "graph g {{\n  %0 = input {{name=\"x\"}} : f32[T, 8]\n{}\n  return y=%0\n}}\n";
  return error_of([&] { parse_graph(fmt::format(fmt::runtime(form), line)); });
}

TEST(GraphText, ErrorsNameTheLine) {
  EXPECT_EQ(error_in("  %1 = silu(%0) : f32[T, 8]"),
            "[graph text] line 3: [graph] there is no op called 'silu'");
  EXPECT_EQ(error_in("  %2 = add(%0, %0) : f32[T, 8]"),
            "[graph text] line 3: must be the definition of %1, got %2 at "
            "' = add(%0, %0) : f32[T, 8]'");
  EXPECT_EQ(error_in("  %1 = add(%0, %1) : f32[T, 8]"),
            "[graph text] line 3: must be a value of an earlier line, got %1 at ') : f32[T, 8]'");
  EXPECT_EQ(error_in("  %1 = add(%0, %0) : f32[T, 9]"),
            "[graph text] line 3: must be add : f32[T, 8], got f32[T, 9] at ''");
  EXPECT_EQ(error_in("  %1 = scale(%0) {factor=2x} : f32[T, 8]"),
            "[graph text] line 3: must be a number at '2x} : f32[T, 8]'");
  EXPECT_EQ(error_in("  %1 = scale(%0) : f32[T, 8]"),
            "[graph text] line 3: [scale] attribute 'factor' is missing");
  EXPECT_EQ(error_in("  %1 = weight {name=\"a\\q\"} : f32[8]"),
            "[graph text] line 3: must be an escape: \\\", \\\\ or \\xNN at '\"} : f32[8]'");
  EXPECT_EQ(error_of([] { parse_graph("graph g {\n"); }),
            "[graph text] line 1: must be more lines, got the end at ''");
  EXPECT_EQ(error_of([] { parse_graph("graph g {\n  return\n}\n\nx"); }),
            "[graph text] line 3: must be nothing after the graph at ''");
}

// Whatever is done to the text, the parser answers with a graph that verifies or with an Error.
TEST(GraphText, MutatedTextIsAGraphOrAnError) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(format("seed {}", seed));
  Random random(seed);
  testing::Mutator mutator(seed);
  int parsed = 0;
  for (int i = 0; i < 5000; ++i) {
    const std::string text = print(random_graph(random));
    const testing::Bytes bytes = mutator.mutate(testing::as_bytes(text));
    const std::string damaged(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    try {
      const Graph graph = parse_graph(damaged);
      graph.verify();
      ASSERT_EQ(print(parse_graph(print(graph))), print(graph));
      ++parsed;
    } catch (const Error& error) {
      ASSERT_EQ(error.code(), ErrorCode::kInvalidModel) << error.what();
      ASSERT_TRUE(std::string(error.what()).starts_with("[graph text] line ")) << error.what();
    }
  }
  EXPECT_GT(parsed, 0);
  EXPECT_LT(parsed, 5000);
}

}  // namespace
}  // namespace brayton
