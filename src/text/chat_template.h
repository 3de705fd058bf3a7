// Conversations -> prompt text, by a model's Jinja template.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "brayton/request.h"
#include "core/json.h"

struct BraytonTemplate;

namespace brayton {

// Immutable and thread-safe. The template cannot reach files, the network or the environment, and
// its steps and output are bounded.
class ChatTemplate {
 public:
  // Throws Error(kInvalidModel) with the line of a syntax fault.
  ChatTemplate(std::string source, std::string bos_token, std::string eos_token,
               const std::string& where);

  // Throws Error(kInvalidArgument) with what the template's raise_exception says.
  // `extra`: more variables of the template (tools, date_string, ...), an object or null; `now` in
  // it (Unix seconds) is the time that strftime_now tells, in UTC, instead of the clock's.
  std::string render(const std::vector<ChatMessage>& messages, bool add_generation_prompt,
                     const Json& extra = nullptr) const;

  const std::string& source() const { return source_; }
  const std::string& bos_token() const { return bos_token_; }
  const std::string& eos_token() const { return eos_token_; }

 private:
  std::string source_, bos_token_, eos_token_, where_;
  std::shared_ptr<const BraytonTemplate> template_;
};

// What a tokenizer_config.json says. A template is a string or a list of {name, template}, of which
// `name` is taken; empty: there is none. A token is a string or {"content": ...}; absent: empty.
// Throw Error(kInvalidModel) when the field is something else.
std::string chat_template_from_config(const Json& tokenizer_config, const std::string& where,
                                      const std::string& name = "default");
std::string special_token_from_config(const Json& tokenizer_config, const std::string& token_field,
                                      const std::string& where);

}  // namespace brayton
