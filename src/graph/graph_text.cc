// The text form of a graph, both ways. Values are numbered in the order in which they are made.
//   attributes: true  -3  0.5 (always with '.', 'e', "inf" or "nan")  "text"  [1, 2]  [0.5, 1.0]
//               [] is an empty list of integers, [.] one of numbers
//   an absent input is '_'
#include <algorithm>
#include <charconv>

#include "core/check.h"
#include "graph/graph.h"
#include "graph/op_schema.h"

namespace brayton {
namespace {

bool is_word_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || c == '-';
}

bool is_word(const std::string& text) {
  for (char c : text)
    if (!is_word_char(c)) return false;
  return !text.empty();
}

std::string show(bool value) { return value ? "true" : "false"; }
std::string show(int64_t value) { return std::to_string(value); }

std::string show(double value) {
  std::string text = format("{}", value);
  if (text.find_first_of(".en") == std::string::npos) text += ".0";
  return text;
}

std::string show(const std::string& value) {
  std::string text = "\"";
  for (char c : value) {
    if (c == '"' || c == '\\') {
      text += '\\';
      text += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      text += format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      text += c;
    }
  }
  return text + '"';
}

// Element `index` of a list.
void append(std::string& text, size_t index, const std::string& element) {
  if (index > 0) text += ", ";
  text += element;
}

template <class T>
std::string show(const std::vector<T>& values) {
  std::string text = "[";
  for (size_t i = 0; i < values.size(); ++i) append(text, i, show(values[i]));
  if (values.empty() && std::is_same_v<T, double>) text += '.';
  return text + ']';
}

class Parser {
 public:
  explicit Parser(const std::string& text) : text_(text) {}

  Graph parse() {
    next_line();
    expect("graph ");
    Graph graph(word());
    expect(" {");
    end_of_line();
    while (true) {
      next_line();
      skip_spaces();
      if (take("return")) break;
      node(graph);
    }
    outputs(graph);
    next_line();
    expect("}");
    end_of_line();
    while (at_ < text_.size())
      if (text_[at_++] != '\n') fail("nothing after the graph");
    return graph;
  }

 private:
  [[noreturn]] void fail(const std::string& expected) const {
    throw_error(ErrorCode::kInvalidModel, "[graph text] line {}: must be {} at '{}'", line_,
                expected, line_text_.substr(std::min(column_, line_text_.size()), 40));
  }

  void next_line() {
    if (at_ >= text_.size()) fail("more lines, got the end");
    size_t end = text_.find('\n', at_);
    if (end == std::string::npos) end = text_.size();
    line_text_ = text_.substr(at_, end - at_);
    at_ = std::min(end + 1, text_.size());
    column_ = 0;
    ++line_;
  }
  void end_of_line() {
    skip_spaces();
    if (column_ != line_text_.size()) fail("the end of the line");
  }
  void skip_spaces() {
    while (column_ < line_text_.size() && line_text_[column_] == ' ') ++column_;
  }
  char peek() const { return column_ < line_text_.size() ? line_text_[column_] : '\0'; }
  bool take(std::string_view token) {
    if (line_text_.compare(column_, token.size(), token) != 0) return false;
    column_ += token.size();
    return true;
  }
  void expect(std::string_view token) {
    if (!take(token)) fail(format("'{}'", token));
  }

  std::string word() {
    const size_t begin = column_;
    while (is_word_char(peek())) ++column_;
    if (begin == column_) fail("a name");
    return line_text_.substr(begin, column_ - begin);
  }

  template <class T>
  T number(const std::string& token) {
    T value{};
    const char* end = token.data() + token.size();
    const auto [stop, fault] = std::from_chars(token.data(), end, value);
    if (fault != std::errc() || stop != end) {
      column_ -= token.size();
      fail("a number");
    }
    return value;
  }

  // Numbers share their letters with words, but for '+'.
  std::string number_token() {
    const size_t begin = column_;
    while (is_word_char(peek()) || peek() == '+') ++column_;
    return line_text_.substr(begin, column_ - begin);
  }
  static bool is_real(const std::string& token) {
    return token.find_first_of(".en") != std::string::npos;
  }

  ValueId value_id() {
    expect("%");
    const int64_t number_read = number<int64_t>(number_token());
    if (number_read < 0 || number_read > INT32_MAX) fail("a value");
    return static_cast<ValueId>(number_read);
  }

  std::string quoted() {
    expect("\"");
    std::string value;
    while (peek() != '"') {
      if (column_ >= line_text_.size()) fail("a closing '\"'");
      char c = line_text_[column_++];
      if (c == '\\') {
        c = peek();
        ++column_;
        if (c == 'x') {
          const std::string digits = line_text_.substr(std::min(column_, line_text_.size()), 2);
          unsigned code = 0;
          const char* end = digits.data() + digits.size();
          const auto [stop, fault] = std::from_chars(digits.data(), end, code, 16);
          if (fault != std::errc() || digits.size() != 2 || stop != end) fail("two hex digits");
          column_ += 2;
          c = static_cast<char>(code);
        } else if (c != '"' && c != '\\') {
          fail("an escape: \\\", \\\\ or \\xNN");
        }
      }
      value += c;
    }
    ++column_;
    return value;
  }

  Attribute list() {
    expect("[");
    if (take("]")) return std::vector<int64_t>();
    if (take(".]")) return std::vector<double>();
    std::vector<int64_t> integers;
    std::vector<double> reals;
    while (true) {
      const std::string token = number_token();
      if (is_real(token))
        reals.push_back(number<double>(token));
      else
        integers.push_back(number<int64_t>(token));
      if (!reals.empty() && !integers.empty()) fail("a list of one type");
      if (take("]")) break;
      expect(", ");
    }
    if (reals.empty()) return integers;
    return reals;
  }

  Attribute attribute() {
    if (peek() == '"') return quoted();
    if (peek() == '[') return list();
    const std::string token = number_token();
    if (token == "true") return true;
    if (token == "false") return false;
    if (is_real(token)) return number<double>(token);
    return number<int64_t>(token);
  }

  Attributes attributes() {
    Attributes result;
    if (!take(" {")) return result;
    while (true) {
      const std::string name = word();
      if (result.has(name)) fail(format("a new attribute after '{}'", name));
      expect("=");
      result.set(name, attribute());
      if (take("}")) return result;
      expect(", ");
    }
  }

  ValueType type() {
    const size_t end = line_text_.find(']', column_);
    if (end == std::string::npos) fail("a type");
    const std::string text = line_text_.substr(column_, end + 1 - column_);
    column_ = end + 1;
    return parse_value_type(text);
  }

  std::vector<ValueId> inputs(const Graph& graph) {
    std::vector<ValueId> result;
    expect("(");
    if (take(")")) return result;
    while (true) {
      if (take("_")) {
        result.push_back(kNoValue);
      } else {
        result.push_back(value_id());
        if (result.back() >= graph.value_count())
          fail(format("a value of an earlier line, got %{}", result.back()));
      }
      if (take(")")) return result;
      expect(", ");
    }
  }

  void node(Graph& graph) {
    const int64_t first = graph.value_count();
    int64_t results = 0;
    do {
      const ValueId id = value_id();
      if (id != first + results)
        fail(format("the definition of %{}, got %{}", first + results, id));
      ++results;
    } while (take(", "));
    expect(" = ");
    const std::string op = word();
    try {
      const bool leaf = op_schema(op).is_leaf();
      const std::vector<ValueId> read = leaf ? std::vector<ValueId>() : inputs(graph);
      Attributes named = attributes();
      expect(" : ");
      std::vector<ValueType> types = {type()};
      while (take(", ")) types.push_back(type());
      end_of_line();
      if (static_cast<int64_t>(types.size()) != results) fail(format("{} types", results));
      if (leaf) {
        if (results != 1) fail("one result of a leaf");
        graph.add_leaf(op, types[0], std::move(named));
        return;
      }
      const std::vector<ValueId> made = graph.add(op, read, std::move(named));
      if (static_cast<int64_t>(made.size()) != results)
        fail(format("{} results of {}, got {}", made.size(), op, results));
      for (size_t i = 0; i < made.size(); ++i)
        if (graph.value(made[i]).type != types[i])
          fail(format("{} : {}, got {}", op, graph.value(made[i]).type.str(), types[i].str()));
    } catch (const Error& fault) {
      if (std::string_view(fault.what()).starts_with("[graph text]")) throw;
      throw_error(ErrorCode::kInvalidModel, "[graph text] line {}: {}", line_, fault.what());
    }
  }

  void outputs(Graph& graph) {
    if (peek() == '\0') return;
    do {
      expect(" ");
      const std::string name = word();
      for (const auto& output : graph.outputs())
        if (output.first == name) fail(format("a new output after '{}'", name));
      expect("=");
      const ValueId id = value_id();
      if (id >= graph.value_count()) fail(format("a value, got %{}", id));
      graph.set_output(name, id);
    } while (take(","));
    end_of_line();
  }

  const std::string& text_;
  size_t at_ = 0;
  std::string line_text_;
  size_t column_ = 0;
  int line_ = 0;
};

}  // namespace

std::string print(const Graph& graph) {
  const auto value = [](ValueId id) { return id == kNoValue ? "_" : format("%{}", id); };
  BRAYTON_CHECK(is_word(graph.name()));
  std::string text = format("graph {} {{\n", graph.name());
  for (const Node& node : graph.nodes()) {
    std::string types;
    text += "  ";
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      append(text, i, value(node.outputs[i]));
      append(types, i, graph.value(node.outputs[i]).type.str());
    }
    text += format(" = {}", node.op);
    if (!op_schema(node.op).is_leaf()) {
      text += '(';
      for (size_t i = 0; i < node.inputs.size(); ++i) append(text, i, value(node.inputs[i]));
      text += ')';
    }
    const char* separator = " {";
    for (const auto& [name, attribute] : node.attributes.map()) {
      const auto show_it = [](const auto& v) { return show(v); };
      text += format("{}{}={}", separator, name, std::visit(show_it, attribute));
      separator = ", ";
    }
    if (!node.attributes.map().empty()) text += '}';
    text += format(" : {}\n", types);
  }
  text += "  return";
  for (size_t i = 0; i < graph.outputs().size(); ++i) {
    const auto& [name, id] = graph.outputs()[i];
    BRAYTON_CHECK(is_word(name));
    text += format("{} {}={}", i > 0 ? "," : "", name, value(id));
  }
  return text + "\n}\n";
}

Graph parse_graph(const std::string& text) { return Parser(text).parse(); }

}  // namespace brayton
