// A line on a terminal's stderr that fills up; silent elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace brayton {

class ProgressBar {
 public:
  ProgressBar();
  ~ProgressBar();
  void show(const std::string& stage, int64_t done, int64_t total);

 private:
  bool on_;
  bool drawn_ = false;
  std::string stage_;
  std::chrono::steady_clock::time_point started_, last_;
};

}  // namespace brayton
