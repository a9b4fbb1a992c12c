// A SpoolStore is the disk of a spool: it appends messages to a log of outgoing messages and knows
// how much waits there. In a log that is shared an append without an answer is decided before
// anything else is done: what it has put there is not put there again.
// Thread-safety: Append() and Refresh() from one thread; the rest safe for concurrent use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "once/outgoing_log.h"
#include "once/spool.h"
#include "once/spool_log.h"
#include "src/pending_send.h"

namespace once {

class SpoolStore {
 public:
  // REQUIRES: there is a shared log, or the store has a log of outgoing messages.
  SpoolStore(std::shared_ptr<DedupStore> store, std::shared_ptr<SpoolLog> shared,
             const SpoolLimits& limits);

  // Counts what an earlier opening has left, its bytes too: reads all of it once. Before anything
  // else.
  absl::Status Open();

  // One durable transaction. kInvalidArgument: one of them can never be taken. kUnknown: they may
  // be there.
  absl::Status Append(std::span<const std::shared_ptr<PendingSend>> messages);
  // Counts what waits.
  absl::Status Refresh();
  bool is_shared() const { return shared_ != nullptr; }
  // Of where messages lie.
  StoreTraits traits() const;

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

  using Message = std::shared_ptr<PendingSend>;

  absl::Status AppendShared(std::span<const Message> messages);
  // What became of the append that has no answer. An error: nobody knows yet.
  absl::Status ResolveDoubt();
  static Portion PortionOf(std::span<const Message> messages);
  void Note(const Portion& portion);

  const std::shared_ptr<DedupStore> store_;
  const std::shared_ptr<SpoolLog> shared_;  // null: the store is the spool's own
  OutgoingLog& log_;
  const SpoolLimits limits_;
  std::uint64_t append_ = 0;      // the number of the last one to the shared log
  std::vector<Message> doubted_;  // its messages, while nobody knows what became of it
  std::vector<Message> stored_;   // put there by one, and not told as such yet

  mutable std::mutex mutex_;
  OutgoingCounts counts_;
  // Newest last; the log drops the oldest first, but for parked ones.
  std::deque<Portion> portions_;
  std::size_t bytes_ = 0;     // of all portions
  std::size_t messages_ = 0;  // likewise
};

}  // namespace once
