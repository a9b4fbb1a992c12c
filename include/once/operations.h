// StoreOperations is what an operator sees of a store and may change in it: positions, dead
// letters, single ids. The `once` command works through it, on a closed store or through the
// process that has the store open. Every change is one durable transaction, checked against the
// state it finds, and recorded like any other: a running consumer meets it as it would meet another
// writer. What a store has none of (positions, letters) it refuses with kUnimplemented.
//
// Thread-safety: safe for concurrent use, also beside running consumers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "once/message_id.h"
#include "once/outbox.h"
#include "once/position.h"
#include "once/transaction.h"

namespace once {

struct StoredPosition {
  PartitionKey key;
  PositionStamp stamp;
  std::int64_t reach = 0;
  std::optional<AppliedRecord> last_applied = std::nullopt;
  PositionDirective directive = PositionDirective::kNone;
};

// kSet moves the row to `position`; the others leave the moving to the next owner. A row that does
// not exist is created.
struct PositionOrder {
  PartitionKey key;
  PositionDirective directive = PositionDirective::kSet;
  std::int64_t position = 0;  // kSet only
  std::uint64_t writer = 0;   // a fresh random tag, so that a running owner notices
};

// A dead letter that the store keeps, and what became of its message since.
struct StoredFailure {
  std::int64_t number = 0;  // of the letter in this store; ascending with time
  OutboxOrigin origin;
  std::string scope;
  std::string id;                    // empty: the message had no valid id
  IdState state = IdState::kAbsent;  // of the id; kAbsent where there is none
  bool is_published = false;         // the broker has acknowledged the letter
  std::string parked_reason;         // why no retry can publish it; empty: it is not parked
  int redrives = 0;                  // how often this message was redriven
  OutgoingMessage letter;            // its once-* headers say what happened
};

struct FailureQuery {
  std::int64_t after = 0;          // letters with a greater number only
  std::size_t letters_max = 1000;  // at most so many, oldest first
  std::optional<std::string> id = std::nullopt;
  std::optional<std::string> scope = std::nullopt;
};

// Sends a dead message around once more, under its own id.
struct RedriveRequest {
  std::int64_t number = 0;  // StoredFailure::number; the newest letter of its id; 0: none is kept
  // What MakeRedrive() made of the letter: to the origin's topic and partition.
  OutboxRow row;
};

struct StoredNote {
  std::string key;
  std::string value;

  friend bool operator==(const StoredNote&, const StoredNote&) = default;
};

// Notes of the engine (Note), in the order of their keys' bytes.
struct NoteQuery {
  std::string prefix;            // of the key
  std::string after;             // keys behind this one only
  std::size_t notes_max = 1000;  // at most so many
};

class StoreOperations {
 public:
  virtual ~StoreOperations() = default;

  // All rows, in key order.
  virtual absl::StatusOr<std::vector<StoredPosition>> ListPositions() = 0;
  virtual absl::Status OrderPosition(const PositionOrder& order) = 0;

  // Kept letters whose message has not completed since, and is not discarded.
  virtual absl::StatusOr<std::vector<StoredFailure>> FindFailures(const FailureQuery& query) = 0;

  // Under every scope that knows the id.
  struct FoundId {
    std::string scope;
    IdRecord record;
  };
  virtual absl::StatusOr<std::vector<FoundId>> FindId(const std::string& id) = 0;

  // In the three below: kNotFound when there is no such letter or id; kFailedPrecondition, naming
  // the state, when it does not permit the change.

  // dead or uncertain → retrying with all attempts before it, due now; the row joins the outbox, in
  // one transaction. Number 0, of a store without letters: the id alone, which the row names.
  virtual absl::Status Redrive(const RedriveRequest& request) = 0;
  // dead, uncertain, retrying, or dying (its letter cannot be published) → discarded. The letter is
  // no longer kept; an owner that is about to publish it loses its claim.
  virtual absl::Status Discard(const IdKey& key) = 0;
  // uncertain → completed: it did happen.
  virtual absl::Status Resolve(const IdKey& key) = 0;

  virtual absl::StatusOr<std::vector<StoredNote>> ListNotes(const NoteQuery& query) = 0;

  // Forgets the letter of a message that has no id record: no-id, invalid-id, conflict.
  virtual absl::Status DropLetter(std::int64_t number) = 0;
};

}  // namespace once
