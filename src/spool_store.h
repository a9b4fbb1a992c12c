// A SpoolStore is the disk of a spool: it appends messages to a log of outgoing messages and knows
// how much waits there.
// Thread-safety: Append() and Refresh() from one thread; the rest safe for concurrent use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "once/outgoing_log.h"
#include "once/spool.h"
#include "src/pending_send.h"

namespace once {

class SpoolStore {
 public:
  // REQUIRES: the store has a log of outgoing messages.
  SpoolStore(std::shared_ptr<DedupStore> store, const SpoolLimits& limits);

  // Counts what an earlier opening has left, its bytes too: reads all of it once. Before anything
  // else.
  absl::Status Open();

  // One durable transaction. kInvalidArgument: one of them can never be taken. kUnknown: they may
  // be there.
  absl::Status Append(std::span<const std::shared_ptr<PendingSend>> messages);
  // Counts what waits.
  absl::Status Refresh();

  // Empty: there is room. Else why there is none, and what to do.
  std::string WhyFull(absl::Time now) const;
  // Nothing waits, as far as is known.
  bool is_empty() const;
  OutgoingCounts counts() const;

 private:
  // What one Append() has put there, or about as much of what was there already.
  struct Portion {
    std::size_t messages = 0;
    std::size_t bytes = 0;
  };

  const std::shared_ptr<DedupStore> store_;
  OutgoingLog& log_;
  const SpoolLimits limits_;

  mutable std::mutex mutex_;
  OutgoingCounts counts_;
  // Newest last; the log drops the oldest first, but for parked ones.
  std::deque<Portion> portions_;
  std::size_t bytes_ = 0;     // of all portions
  std::size_t messages_ = 0;  // likewise
};

}  // namespace once
