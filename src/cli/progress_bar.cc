#include "cli/progress_bar.h"

#include <unistd.h>

#include <cstdio>

#include "core/format.h"

namespace brayton {

using Clock = std::chrono::steady_clock;
constexpr int kWidth = 32;
// What is over sooner needs no bar.
constexpr auto kQuiet = std::chrono::milliseconds(300);
constexpr auto kRedraw = std::chrono::milliseconds(50);

ProgressBar::ProgressBar() : on_(::isatty(STDERR_FILENO) == 1), started_(Clock::now()) {}

ProgressBar::~ProgressBar() {
  if (drawn_) std::fputs("\r\x1b[K", stderr);
}

void ProgressBar::show(const std::string& stage, int64_t done, int64_t total) {
  if (!on_ || total <= 0) return;
  const auto now = Clock::now();
  if (stage != stage_) {
    stage_ = stage;
    started_ = now;
  }
  if (done >= total) {
    if (drawn_) std::fputs("\r\x1b[K", stderr);
    drawn_ = false;
    return;
  }
  if (now - started_ < kQuiet || now - last_ < kRedraw) return;
  last_ = now;
  drawn_ = true;
  const int filled = static_cast<int>(kWidth * done / total);
  const double seconds = std::chrono::duration<double>(now - started_).count();
  const double left = done > 0 ? seconds * static_cast<double>(total - done) / done : 0;
  const std::string line = format("\r{:<14} [{:#<{}}{:.<{}}] {:3d}% {:.0f} s left\x1b[K", stage, "",
                                  filled, "", kWidth - filled, 100 * done / total, left);
  std::fputs(line.c_str(), stderr);
  std::fflush(stderr);
}

}  // namespace brayton
