// A graph keeps its invariants while passes edit it, and verify() finds each that is broken.
#include "graph/graph.h"

#include <gtest/gtest.h>

#include "testing/op_test.h"

namespace brayton {
namespace {

using testing::error_of;

const Attributes kSilu = {{"kind", std::string("silu")}};

// x, then two activations of it and their sum.
Graph diamond() {
  return parse_graph(R"(graph diamond {
  %0 = input {name="x"} : f32[T, 4]
  %1 = activation(%0) {kind="silu"} : f32[T, 4]
  %2 = activation(%0) {kind="relu"} : f32[T, 4]
  %3 = add(%1, %2) : f32[T, 4]
  return logits=%3
}
)");
}

TEST(Graph, KnowsProducersAndUsers) {
  const Graph graph = diamond();
  EXPECT_EQ(graph.users(0), (std::vector<NodeId>{1, 2}));
  EXPECT_EQ(graph.users(3), std::vector<NodeId>{});
  EXPECT_EQ(graph.producer(3).op, "add");
  EXPECT_EQ(graph.value(2).producer, 2);
  graph.verify();
}

TEST(Graph, AppendedNodesAreMovedBeforeTheirFirstUser) {
  Graph graph = diamond();
  const ValueId scaled = graph.add("scale", {1}, {{"factor", 2.0}})[0];
  graph.replace_uses(1, scaled);
  graph.node(graph.value(scaled).producer).inputs[0] = 1;  // but the new node's own
  EXPECT_NE(error_of([&] { graph.verify(); }).find("node 3 (add) reads %4 before it is made"),
            std::string::npos);
  EXPECT_EQ(graph.compact(), 0);
  graph.verify();
  EXPECT_EQ(print(graph), R"(graph diamond {
  %0 = input {name="x"} : f32[T, 4]
  %1 = activation(%0) {kind="silu"} : f32[T, 4]
  %2 = activation(%0) {kind="relu"} : f32[T, 4]
  %3 = scale(%1) {factor=2.0} : f32[T, 4]
  %4 = add(%3, %2) : f32[T, 4]
  return logits=%4
}
)");
}

TEST(Graph, CompactDropsWhatNoOutputNeedsButInputs) {
  Graph graph = diamond();
  graph.add_leaf("weight", {DType::kF32, {4}}, {{"name", std::string("unused")}});
  graph.add_leaf("input", {DType::kI32, {Dim::of('R')}}, {{"name", std::string("rows")}});
  graph.replace_uses(3, 1);
  EXPECT_EQ(graph.compact(), 3);  // relu, add, weight
  graph.verify();
  EXPECT_EQ(print(graph), R"(graph diamond {
  %0 = input {name="x"} : f32[T, 4]
  %1 = activation(%0) {kind="silu"} : f32[T, 4]
  %2 = input {name="rows"} : i32[R]
  return logits=%1
}
)");
  EXPECT_EQ(graph.compact(), 0);
}

TEST(Graph, CompactRefusesACycle) {
  Graph graph = diamond();
  graph.node(1).inputs[0] = 3;
  EXPECT_NE(error_of([&] { graph.compact(); }).find("this is a bug"), std::string::npos);
}

TEST(Graph, AddChecksAsItBuilds) {
  Graph graph = diamond();
  EXPECT_EQ(error_of([&] { graph.add("activation", {9}, kSilu); }),
            "[activation] input must be one of 4 values, got %9");
  EXPECT_EQ(error_of([&] { graph.add("weight", {}); }),
            "[weight] is a leaf: its type is given, not inferred");
  EXPECT_EQ(error_of([&] { graph.add_leaf("add", {DType::kF32, {1}}, {}); }),
            "[add] is no leaf: it has inputs");
  const Attributes name = {{"name", std::string("w")}};
  EXPECT_EQ(error_of([&] { graph.add_leaf("weight", {DType::kF32, {Dim::of('T')}}, name); }),
            "[weight] 'w' must have constant dimensions, got f32[T]");
  EXPECT_EQ(error_of([&] {
              graph.add_leaf("constant", {DType::kF32, {3}},
                             {{"values", std::vector<double>{1.0, 2.0}}});
            }),
            "[constant] of 2 values must be f32[2], got f32[3]");
  EXPECT_EQ(graph.value_count(), 4);
}

TEST(Graph, AbsentInputsAtTheEndAreDropped) {
  Graph graph = diamond();
  const ValueId w = graph.add_leaf("weight", {DType::kF32, {4}}, {{"name", std::string("w")}});
  const ValueId y = graph.add("layer_norm", {0, w, kNoValue}, {{"eps", 0.0}})[0];
  EXPECT_EQ(graph.producer(y).inputs, (std::vector<ValueId>{0, w}));
}

TEST(Graph, VerifyNamesTheBrokenNode) {
  const auto broken = [](const std::function<void(Graph&)>& edit) {
    Graph graph = diamond();
    edit(graph);
    return error_of([&] { graph.verify(); });
  };
  EXPECT_EQ(broken([](Graph& g) { g.node(3).inputs[1] = 77; }),
            "[graph] node 3 (add) reads %77, which is no value; this is a bug");
  EXPECT_EQ(broken([](Graph& g) { g.node(3).outputs[0] = 2; }),
            "[graph] node 3 (add) makes %2, which says it is output 0 of node 2; this is a bug");
  EXPECT_EQ(broken([](Graph& g) { g.node(1).op = "siluu"; }),
            "[graph] node 1 (siluu) is invalid: [graph] there is no op called 'siluu'; "
            "this is a bug");
  EXPECT_EQ(broken([](Graph& g) { g.node(1).attributes = {}; }),
            "[graph] node 1 (activation) is invalid: [activation] attribute 'kind' is missing; "
            "this is a bug");
  EXPECT_EQ(broken([](Graph& g) { g.node(1).op = "gated_activation"; }),
            "[graph] node 1 (gated_activation) has other output types than its schema infers; "
            "this is a bug");
}

TEST(Graph, OutputsAreNamed) {
  Graph graph = diamond();
  graph.set_output("hidden", 1);
  graph.set_output("logits", 2);
  const std::vector<std::pair<std::string, ValueId>> expected = {{"logits", 2}, {"hidden", 1}};
  EXPECT_EQ(graph.outputs(), expected);
}

}  // namespace
}  // namespace brayton
