// SpentSends keeps messages whose outcome has been told, for those that are sent next: memory is
// cheapest to free for the thread that allocated it, which is a sender's, and an object that is
// used again needs none. They keep nothing of what was sent but
// room for an id. As many as there is room for have been
// under way at once, so that keeping all of them takes no more memory than that did; nobody
// sending, none is kept.
//
// Thread-safety: safe for concurrent use.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "src/pending_send.h"

namespace once {

class SpentSends {
 public:
  explicit SpentSends(std::size_t messages_max) : messages_max_(messages_max) {}

  // A message as it is at the beginning, perhaps an old one.
  std::shared_ptr<PendingSend> Take();
  // Those that nobody has a ticket of, as far as there is room; all lose their messages.
  void Keep(std::vector<std::shared_ptr<PendingSend>>& told);
  // Nobody sends.
  void Clear();
  // Whether something has been taken since the last call.
  bool TakeUse();

 private:
  void FetchNext() const;

  const std::size_t messages_max_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<PendingSend>> sends_;
  bool is_used_ = false;
};

}  // namespace once
