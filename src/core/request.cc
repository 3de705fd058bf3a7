#include "brayton/request.h"

#include "core/check.h"

namespace brayton {

const char* finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kNone:
      return "none";
    case FinishReason::kEos:
      return "eos";
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kError:
      return "error";
  }
  throw_error(ErrorCode::kInternal, "[request] no finish reason has the number {}",
              static_cast<int>(reason));
}

}  // namespace brayton
