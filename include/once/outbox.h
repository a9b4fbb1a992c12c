// The outbox: messages that were committed together with an effect and are published afterwards, at
// least once, by a relay. A committed outbox row is a durable dead letter: the message it came from
// may be acknowledged before the broker has seen the letter.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "once/position.h"
#include "once/publisher.h"

namespace once {

// Where the message behind a row came from. Unique in the outbox, also after publication, so that a
// replay of the same delivery never writes a second letter. The record's timestamp tells the offset
// of a recreated topic from the one that had its number before.
struct OutboxOrigin {
  PartitionKey key;
  std::int64_t offset = 0;
  std::int64_t timestamp_ms = -1;  // Message::timestamp_ms()
  // Of letters: a delivery that is reprocessed under another scope has another letter.
  std::string scope = {};
  // 0: the dead letter; a handler's own messages count from 1, redrives of the letter from -1 down
  std::int32_t ordinal = 0;

  friend auto operator<=>(const OutboxOrigin&, const OutboxOrigin&) = default;
};

struct OutboxRow {
  OutboxOrigin origin;
  OutgoingMessage message;
  // Of a dead letter: whose it is, so that an operator finds it. Empty: it has no valid id.
  std::string scope = {};
  std::string id = {};
};

struct PendingRow {
  // Store-wide, in commit order. Never given to another row while the store is open, not even when
  // it has lost its tail meanwhile: the relay marks by it.
  std::int64_t sequence = 0;
  OutgoingMessage message;
};

// The relay's access to committed rows. Thread-safe against transactions of the same store.
class Outbox {
 public:
  Outbox() = default;
  Outbox(const Outbox&) = delete;
  Outbox& operator=(const Outbox&) = delete;
  virtual ~Outbox() = default;

  // One relay at a time publishes from an outbox, so that consumers sharing a store do not each
  // send every letter. True for the caller that may go on; it must call ReleaseRelay(). The default
  // holds within one process, which is all that an embedded store is open to.
  virtual bool TryAcquireRelay() { return !is_relay_busy_.exchange(true); }
  virtual void ReleaseRelay() { is_relay_busy_ = false; }

  // The oldest unpublished, unparked rows, at most `rows_max`, in commit order.
  virtual absl::StatusOr<std::vector<PendingRow>> FindPending(std::size_t rows_max) = 0;

  // Rows that FindPending would return if rows_max were unlimited; the bound of the outbox counts
  // these.
  virtual absl::StatusOr<std::size_t> CountPending() = 0;

  // Their origin stays, their payload is dropped, except that of dead letters (ordinal 0): they are
  // kept for StoreOperations until their message completes, or a newer letter of the same id or an
  // operator's word makes them void. Unknown sequences are ignored: marking twice is
  // harmless. kUnknown: the rows may be published again, with the same ids.
  virtual absl::Status MarkPublished(std::span<const std::int64_t> sequences) = 0;

  // Takes a row that no retry can publish (too large, no such topic) out of the relay's way. It
  // stays in the store with its payload and `reason`, for an operator.
  virtual absl::Status Park(std::int64_t sequence, const absl::Status& reason) = 0;

 private:
  std::atomic<bool> is_relay_busy_ = false;
};

}  // namespace once
