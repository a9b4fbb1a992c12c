// SpentSends keeps messages whose outcome has been told, for those that are sent next: memory is
// cheapest to free for the thread that allocated it, which is a sender's, and an object that is
// used again needs none.
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
  // A message as it is at the beginning, perhaps an old one.
  std::shared_ptr<PendingSend> Take();
  // Those that nobody has a ticket of, as far as there is room; the others lose their values.
  void Keep(std::vector<std::shared_ptr<PendingSend>>& told);
  // Nobody sends.
  void Clear();
  // Whether something has been taken since the last call.
  bool TakeUse();

 private:
  std::mutex mutex_;
  std::vector<std::shared_ptr<PendingSend>> sends_;
  std::size_t bytes_ = 0;
  bool is_used_ = false;
};

}  // namespace once
