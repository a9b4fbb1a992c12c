// A Transaction is what a transactional handler gets: its writes through the store's typed access
// function (once::sqlite::Connection(transaction), once::memory::Records(transaction)) become
// visible together with the message's id and position, or not at all. A handler cannot end it.
// Publish() sends a message with them.
//
// StoreTransaction is the engine's side of the same object: ids, positions, outbox rows, savepoints
// and the end. Adapters implement it; handlers never see it.
// Thread-safety: one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "once/message_id.h"
#include "once/outbox.h"
#include "once/position.h"
#include "once/publisher.h"

namespace once {

// What a commit that returned OK survives.
enum class Durability : std::uint8_t {
  kNothing,  // memory: gone when the process ends
  kProcess,  // written but not synced: survives a crash of the process, not of the machine
  kMachine,  // synced: survives power loss
};

class Transaction {
 public:
  Transaction() = default;
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  virtual ~Transaction() = default;

  // The message is published, at least once, after the transaction has committed and never if it
  // has not (outgoing_log.h): of one topic and key in the order of commits, within a transaction in
  // the order of the calls. Costs one insert. kInvalidArgument: ValidateOutgoing() says why, and
  // nothing has changed; kUnimplemented: the store has no log of outgoing messages. After any other
  // error the transaction cannot commit.
  virtual absl::Status Publish(const OutgoingMessage& message);
};

// OK for a message that may be published through a transaction; else kInvalidArgument: a topic that
// Kafka knows no name for, or that holds marks (MarksTopic); a negative partition; the header of
// stamps; more than kOutgoingBytesMax.
absl::Status ValidateOutgoing(const OutgoingMessage& message);
inline constexpr std::size_t kOutgoingBytesMax = 64 * 1024 * 1024;

enum class IdState : std::uint8_t {
  kAbsent = 0,     // never seen, or every trace was rolled back: handle it
  kCompleted = 1,  // its effect is committed: a further copy is a duplicate
  kRetrying = 2,   // failed `attempt` times, not settled: handle it again
  kDead = 3,       // its dead letter is durable: acknowledge copies, count them
  kDiscarded = 4,  // skipped on record: acknowledge copies, count them
  kUncertain = 5,  // a plain handler may have run; an operator resolves it
  kClaimed = 6,    // claim protocol: somebody works on it
  kDying = 7,      // claim protocol: its dead letter is being published
};

// "absent", "completed", …: as refusals and the command name a state.
std::string_view ToString(IdState state);

struct IdRecord {
  IdState state = IdState::kAbsent;
  Fingerprint fingerprint;
  int attempt = 0;  // handler invocations so far; meaningful in kRetrying and kDead
  absl::Time first_failed_at = absl::InfinitePast();
  absl::Time not_before = absl::InfinitePast();  // kRetrying: the next attempt waits until then

  friend bool operator==(const IdRecord&, const IdRecord&) = default;
};

struct IdWrite {
  IdKey key;
  IdRecord record;
};

// What the engine remembers beside ids and positions, such as how far a stream of numbered messages
// has come: bytes under a key that only the engine understands. Views: during the call.
struct Note {
  std::string_view key;    // 1 to kNoteKeyBytesMax bytes
  std::string_view value;  // at most kNoteValueBytesMax bytes; empty: forgotten
};
inline constexpr std::size_t kNoteKeyBytesMax = 1024;
inline constexpr std::size_t kNoteValueBytesMax = 1024 * 1024;

// Between Begin and Commit or Rollback. Destroying it unfinished rolls back.
// After any call but Commit that fails, only Rollback may follow.
class StoreTransaction : public Transaction {
 public:
  // records[i] becomes what the store holds for keys[i], this transaction's own writes included;
  // kAbsent where it holds nothing. Keys may repeat. Two transactions that found one id absent
  // never both commit, or two copies of a message in two partitions would both be applied: the
  // second waits here, or its PutIds or Commit is refused with kAborted.
  // REQUIRES: records.size() == keys.size().
  virtual absl::Status FindIds(std::span<const IdKey> keys, std::span<IdRecord> records) = 0;

  // Inserts or replaces; a record in kAbsent is forgotten. Times keep microseconds.
  virtual absl::Status PutIds(std::span<const IdWrite> writes) = 0;

  // values[i] becomes what the store holds under keys[i], this transaction's own writes included;
  // empty where it holds nothing. Two transactions that write one note are kept apart by the row of
  // a partition that both have locked; without one the last commit counts.
  // REQUIRES: values.size() == keys.size().
  virtual absl::Status FindNotes(std::span<const std::string_view> keys,
                                 std::span<std::string> values) = 0;

  // Inserts, replaces or forgets, in order. kInvalidArgument: a key or a value beyond its bounds.
  virtual absl::Status PutNotes(std::span<const Note> notes) = 0;

  // Appends outbox rows. A row whose origin is already there, published or not, is left as it is:
  // one delivery has one dead letter.
  virtual absl::Status PutOutgoing(std::span<const OutboxRow> rows) = 0;

  // One level: setting replaces the last one. Rolling back to it undoes the handler's writes and
  // everything put since, and keeps the savepoint.
  virtual absl::Status SetSavepoint() = 0;
  virtual absl::Status RollbackToSavepoint() = 0;

  // OK while the transaction that Begin started is still the one that is open. SQLite, for one,
  // rolls back by itself on a full disk; whatever ran after that would have run outside.
  // kFailedPrecondition when a handler ended it, or when one of its statements failed and the store
  // takes nothing more before a rollback to the savepoint; kAborted when the store ended it.
  virtual absl::Status CheckOpen() = 0;

  // Writes the new positions. REQUIRES: every key is among the locks of Begin. A locked key that is
  // not updated keeps its row as it was.
  virtual absl::Status SetPositions(std::span<const PositionUpdate> updates) = 0;

  // OK: durable as `wanted`, or as far as StoreTraits::durability goes. kUnknown: it may have
  // happened or may still happen; Take() the rows to learn which. Any other error: rolled back. The
  // transaction is over in every case.
  virtual absl::Status Commit(Durability wanted) = 0;

  // Never fails as far as the caller is concerned: what is not committed does not exist.
  virtual void Rollback() = 0;
};

}  // namespace once
