// From the clients' threads to the loop, without a lock: a client that is held up holds up nobody.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "executor/active_request.h"

namespace brayton {

struct InboxMessage {
  enum class Kind { kEnqueue, kCancel, kStop };
  Kind kind = Kind::kStop;
  std::unique_ptr<ActiveRequest> request;  // kEnqueue
  RequestId id = 0;                        // kCancel
  InboxMessage* next = nullptr;            // posted before this one
};

// Any number of threads post, one takes. Messages come out in the order of posting.
class Inbox {
 public:
  Inbox() = default;
  ~Inbox();
  Inbox(const Inbox&) = delete;
  Inbox& operator=(const Inbox&) = delete;

  void post(std::unique_ptr<InboxMessage> message) noexcept;
  // Returns when there is something to take.
  void wait() const noexcept { newest_.wait(nullptr, std::memory_order_acquire); }
  // Replaces the contents of `messages`, oldest first.
  void take(std::vector<std::unique_ptr<InboxMessage>>& messages);

 private:
  std::atomic<InboxMessage*> newest_ = nullptr;  // owned by the inbox until taken
};

}  // namespace brayton
