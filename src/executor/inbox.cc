#include "executor/inbox.h"

#include <algorithm>

namespace brayton {

Inbox::~Inbox() {
  std::vector<std::unique_ptr<InboxMessage>> rest;
  take(rest);
}

void Inbox::post(std::unique_ptr<InboxMessage> message) noexcept {
  InboxMessage* posted = message.release();
  posted->next = newest_.load(std::memory_order_relaxed);
  while (!newest_.compare_exchange_weak(posted->next, posted, std::memory_order_release,
                                        std::memory_order_relaxed)) {
  }
  newest_.notify_one();
}

void Inbox::take(std::vector<std::unique_ptr<InboxMessage>>& messages) {
  messages.clear();
  InboxMessage* message = newest_.exchange(nullptr, std::memory_order_acquire);
  while (message != nullptr) {
    messages.emplace_back(message);
    message = message->next;
  }
  std::reverse(messages.begin(), messages.end());
}

}  // namespace brayton
