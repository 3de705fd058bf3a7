// A pass's test: graph text in, graph text out.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "graph/graph.h"

namespace brayton::testing {

// The body's lines, indented as print() does.
inline std::string graph_text(const std::string& body) {
  std::string text = "graph test {\n";
  for (size_t at = 0; at < body.size();) {
    const size_t end = body.find('\n', at);
    const size_t begin = body.find_first_not_of(' ', at);
    if (begin < end) text += "  " + body.substr(begin, end - begin) + "\n";
    at = end == std::string::npos ? body.size() : end + 1;
  }
  return text + "}\n";
}

// The pass turns `before` into `after`, and then has nothing left to do.
inline void expect_pass(bool (*pass)(Graph&), const std::string& before, const std::string& after) {
  Graph graph = parse_graph(graph_text(before));
  const std::string start = print(graph);
  const bool changed = pass(graph);
  graph.verify();
  EXPECT_EQ(print(graph), print(parse_graph(graph_text(after))));
  EXPECT_EQ(changed, print(graph) != start);
  EXPECT_FALSE(pass(graph));
}

inline void expect_unchanged(bool (*pass)(Graph&), const std::string& text) {
  expect_pass(pass, text, text);
}

}  // namespace brayton::testing
