// Rendered prompts equal those of Python's jinja2 set up as Transformers sets it up, for the
// templates in tests/data/text/templates; a template is bounded and its faults are named.
#include "text/chat_template.h"

#include <gtest/gtest.h>

#include "brayton/error.h"
#include "text/test_tokenizers.h"

namespace brayton {
namespace {

std::vector<ChatMessage> messages_of(const Json& list) {
  std::vector<ChatMessage> messages;
  for (const Json& message : list) messages.push_back({message["role"], message["content"]});
  return messages;
}

template <class Call>
void expect_error(Call call, ErrorCode code, const std::string& text) {
  try {
    call();
    FAIL() << "no error; expected: " << text;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
  }
}

TEST(ChatTemplate, EqualsJinja2) {
  const Json golden =
      parse_json(testing::read_test_file("text/templates/golden.json"), "golden.json");
  ASSERT_EQ(golden.size(), 8u * 28u);
  for (const Json& expected : golden) {
    const std::string name = expected["template"];
    const ChatTemplate chat(testing::read_test_file("text/templates/" + name), "<s>", "</s>", name);
    const auto render = [&] {
      return chat.render(messages_of(expected["messages"]),
                         expected["add_generation_prompt"].get<bool>(), expected["extra"]);
    };
    if (expected.contains("raises")) {
      expect_error(render, ErrorCode::kInvalidArgument,
                   "[" + name + ": chat template] " + expected["raises"].get<std::string>());
    } else if (expected.contains("fails")) {
      expect_error(render, ErrorCode::kInvalidArgument, "undefined");
    } else {
      EXPECT_EQ(render(), expected["rendered"]) << name << " " << expected["conversation"];
    }
  }
}

TEST(ChatTemplate, SmolLm2PromptsOfTransformers) {
  const Json chats = parse_json(testing::read_test_file("text/smollm2/chat.json"), "chat.json");
  const ChatTemplate chat(testing::read_test_file("text/templates/smollm2.jinja"), "<|im_start|>",
                          "<|im_end|>", "smollm2");
  for (const Json& expected : chats)
    EXPECT_EQ(chat.render(messages_of(expected["messages"]), true), expected["rendered"]);
}

TEST(ChatTemplate, NamesTheLineOfAFault) {
  expect_error([] { ChatTemplate("line one\n{% if %}", "", "", "model.gguf"); },
               ErrorCode::kInvalidModel, "[model.gguf: chat template] line 2: syntax error");
  const ChatTemplate chat("\n{{ messages[0].content.no_such_method() }}", "", "", "w");
  expect_error([&] { chat.render({{"user", "x"}}, true); }, ErrorCode::kInvalidArgument,
               "[w: chat template] line 2: unknown method");
}

TEST(ChatTemplate, IsBounded) {
  const auto render = [](const std::string& source) {
    ChatTemplate(source, "", "", "w").render({}, true);
  };
  const std::string loop = "{% for a in range(90000) %}";
  const std::string end = "{% endfor %}";
  expect_error([&] { render(loop + loop + "x" + end + end); }, ErrorCode::kInvalidArgument,
               "ran out of fuel");
  expect_error([&] { render("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"); },
               ErrorCode::kInvalidArgument, "recursion");
  const std::string kilobyte(1000, 'x');
  expect_error([&] { render(loop + kilobyte + end); }, ErrorCode::kInvalidArgument,
               "more than 67108864 bytes of output");
  expect_error([&] { render("{% include '/etc/passwd' %}"); }, ErrorCode::kInvalidArgument,
               "tried to include non-existing template");
}

TEST(ChatTemplate, InvalidUtf8InAMessageBecomesAReplacement) {
  const ChatTemplate chat("{{ messages[0].content }}", "", "", "w");
  EXPECT_EQ(chat.render({{"user", "a\xFF"}}, true), "a\uFFFD");
}

TEST(ChatTemplate, ExtraMustBeAnObject) {
  const ChatTemplate chat("x", "", "", "w");
  expect_error([&] { chat.render({}, true, Json::array()); }, ErrorCode::kInvalidArgument,
               "extra variables must be an object, got a value of type array");
}

TEST(ChatTemplate, StrftimeNow) {
  const ChatTemplate chat("{{ strftime_now(format) }}", "", "", "w");
  const auto render = [&](int64_t now, const std::string& format) {
    return chat.render({}, false, Json{{"now", now}, {"format", format}});
  };
  EXPECT_EQ(render(0, "%Y-%m-%d %H:%M:%S %a %j"), "1970-01-01 00:00:00 Thu 001");
  EXPECT_EQ(render(-1, "%F %T"), "1969-12-31 23:59:59");
  EXPECT_EQ(render(951'782'400, "%d %b %Y %j"), "29 Feb 2000 060");
  EXPECT_EQ(render(951'868'800, "%-d %B %j"), "1 March 061");
  EXPECT_EQ(render(4'107'542'400, "%d %b %Y %j %A"), "01 Mar 2100 060 Monday");
  EXPECT_EQ(render(1'735'603'200, "%d %b %Y %j %p%% %Q"), "31 Dec 2024 366 AM% %Q");
  EXPECT_EQ(ChatTemplate("{{ strftime_now('%Y') | int > 2023 }}", "", "", "w").render({}, false),
            "True");
}

TEST(ChatTemplate, FromTokenizerConfig) {
  const auto parse = [](const std::string& text) { return parse_json(text, "config"); };
  EXPECT_EQ(chat_template_from_config(parse(R"({"chat_template": "a"})"), "c"), "a");
  const Json list = parse(R"({"chat_template": [{"name": "default", "template": "d"},
                                                {"name": "rag", "template": "r"}]})");
  EXPECT_EQ(chat_template_from_config(list, "c"), "d");
  EXPECT_EQ(chat_template_from_config(list, "c", "rag"), "r");
  EXPECT_EQ(chat_template_from_config(list, "c", "tools"), "");
  EXPECT_EQ(chat_template_from_config(parse("{}"), "c"), "");
  EXPECT_EQ(chat_template_from_config(parse(R"({"chat_template": null})"), "c"), "");
  expect_error([&] { chat_template_from_config(parse(R"({"chat_template": 3})"), "c.json"); },
               ErrorCode::kInvalidModel,
               "[c.json] field 'chat_template' must be a string or a list of");
  expect_error([&] { chat_template_from_config(parse(R"({"chat_template": [3]})"), "c"); },
               ErrorCode::kInvalidModel, "got 3");
  expect_error([&] { chat_template_from_config(parse("[]"), "c"); }, ErrorCode::kInvalidModel,
               "must be a JSON object, got a value of type array");

  const Json tokens = parse(R"({"bos_token": "<s>", "eos_token": {"content": "</s>"}, "x": [1]})");
  EXPECT_EQ(special_token_from_config(tokens, "bos_token", "c"), "<s>");
  EXPECT_EQ(special_token_from_config(tokens, "eos_token", "c"), "</s>");
  EXPECT_EQ(special_token_from_config(tokens, "pad_token", "c"), "");
  expect_error([&] { special_token_from_config(tokens, "x", "c"); }, ErrorCode::kInvalidModel,
               "[c] field 'x' must be a string or {\"content\": string}, got [1]");
}

}  // namespace
}  // namespace brayton
