// Conversations -> prompt text, by a model's Jinja template.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "brayton/request.h"
#include "core/json.h"

namespace brayton {

// Immutable and thread-safe. The template cannot reach files, the network or the environment, and
// its steps and output are bounded.
class ChatTemplate {
 public:
  // Throws Error(kInvalidModel) with the line of a syntax fault.
  ChatTemplate(std::string source, std::string bos_token, std::string eos_token,
               const std::string& where);

  // Throws Error(kInvalidArgument) with what the template's raise_exception says.
  // `extra`: more variables of the template (tools, date_string, ...), an object or null.
  std::string render(const std::vector<ChatMessage>& messages, bool add_generation_prompt,
                     const Json& extra = nullptr) const;

  const std::string& source() const { return source_; }
  const std::string& bos_token() const { return bos_token_; }
  const std::string& eos_token() const { return eos_token_; }

 private:
  std::string source_, bos_token_, eos_token_, where_;
};

}  // namespace brayton
