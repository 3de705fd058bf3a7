#include "text/chat_template.h"

#include "text/rust_call.h"

namespace brayton {

ChatTemplate::ChatTemplate(std::string source, std::string bos_token, std::string eos_token,
                           const std::string& where)
    : source_(std::move(source)),
      bos_token_(std::move(bos_token)),
      eos_token_(std::move(eos_token)),
      where_(where + ": chat template") {
  BraytonTemplate* handle = nullptr;
  rust::Buffer out;
  rust::check(brayton_text_template_new(rust::bytes(source_), &handle, out.out()), out, where_);
  template_ = std::shared_ptr<const BraytonTemplate>(handle, [](const BraytonTemplate* handle) {
    brayton_text_template_free(const_cast<BraytonTemplate*>(handle));
  });
}

std::string ChatTemplate::render(const std::vector<ChatMessage>& messages,
                                 bool add_generation_prompt, const Json& extra) const {
  if (!extra.is_null() && !extra.is_object())
    throw_error(ErrorCode::kInvalidArgument,
                "[{}] extra variables must be an object, got a value of type {}", where_,
                extra.type_name());
  Json variables = extra.is_null() ? Json::object() : extra;
  variables["bos_token"] = bos_token_;
  variables["eos_token"] = eos_token_;
  variables["add_generation_prompt"] = add_generation_prompt;
  Json list = Json::array();
  for (const ChatMessage& message : messages)
    list.push_back({{"role", message.role}, {"content", message.content}});
  variables["messages"] = std::move(list);

  const std::string text = variables.dump(-1, ' ', false, Json::error_handler_t::replace);
  rust::Buffer out;
  rust::check(brayton_text_template_render(template_.get(), rust::bytes(text), out.out()), out,
              where_);
  return std::string(out.view());
}

namespace {

// A present, non-null field, or null.
const Json* find(const Json& config, const std::string& field, const std::string& where) {
  if (!config.is_object())
    throw_error(ErrorCode::kInvalidModel, "[{}] must be a JSON object, got a value of type {}",
                where, config.type_name());
  const auto it = config.find(field);
  return it == config.end() || it->is_null() ? nullptr : &*it;
}

[[noreturn]] void wrong(const std::string& where, const std::string& field, const char* expected,
                        const Json& got) {
  throw_error(ErrorCode::kInvalidModel, "[{}] field '{}' must be {}, got {:.60}", where, field,
              expected, got.dump(-1, ' ', false, Json::error_handler_t::replace));
}

}  // namespace

std::string chat_template_from_config(const Json& tokenizer_config, const std::string& where,
                                      const std::string& name) {
  constexpr char kExpected[] = "a string or a list of {\"name\", \"template\"}";
  const Json* field = find(tokenizer_config, "chat_template", where);
  if (!field) return "";
  if (field->is_string()) return field->get<std::string>();
  if (!field->is_array()) wrong(where, "chat_template", kExpected, *field);
  for (const Json& entry : *field) {
    const auto is_text = [&](const char* key) {
      return entry.is_object() && entry.contains(key) && entry[key].is_string();
    };
    if (!is_text("name") || !is_text("template")) wrong(where, "chat_template", kExpected, entry);
    if (entry["name"] == name) return entry["template"].get<std::string>();
  }
  return "";
}

std::string special_token_from_config(const Json& tokenizer_config, const std::string& token_field,
                                      const std::string& where) {
  const Json* field = find(tokenizer_config, token_field, where);
  if (!field) return "";
  if (field->is_string()) return field->get<std::string>();
  if (field->is_object() && field->contains("content") && (*field)["content"].is_string())
    return (*field)["content"].get<std::string>();
  wrong(where, token_field, "a string or {\"content\": string}", *field);
}

}  // namespace brayton
