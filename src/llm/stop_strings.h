// Finds the first of several strings in a text that arrives in pieces.
#pragma once

#include <string>
#include <vector>

namespace brayton {

class StopStrings {
 public:
  explicit StopStrings(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  // Text that can be let out: it ends before a stop string, and before what may be the beginning
  // of one.
  std::string push(const std::string& piece);
  std::string finish();  // what was held back, when the text ends without a stop string
  bool found() const { return found_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool found_ = false;
};

}  // namespace brayton
