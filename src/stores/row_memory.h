// A log of outgoing messages that can use the memory of rows again is one of these too: thousands
// of rows a round would be allocated one by one, and freed where they lie scattered.
// Thread-safety: that of the log.
#pragma once

#include <vector>

#include "once/outgoing_operations.h"

namespace once::stores {

class RowMemory {
 public:
  virtual ~RowMemory() = default;

  // Rows that nobody needs any more. They take the place of those that were given back before and
  // not used since.
  virtual void GiveBack(std::vector<OutgoingRow> rows) = 0;
};

}  // namespace once::stores
