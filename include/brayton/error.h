// The one exception type of the library.
#pragma once

#include <stdexcept>
#include <string>

namespace brayton {

enum class ErrorCode {
  kInvalidArgument,    // the call, the command line or a request is wrong
  kInvalidModel,       // a file is damaged, contradicts itself or is not what it says it is
  kUnsupported,        // well-formed, but not something this build can do
  kResourceExhausted,  // memory, blocks, queue
  kEnvironment,        // the operating system or a driver refused
  kCancelled,
  kInternal,  // a bug in Brayton
};

// `what()` reads "[where] what must be X, got Y", and names the remedy where there is one.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace brayton
