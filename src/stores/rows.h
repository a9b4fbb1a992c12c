// What the protocols of claims (claims.h) and operators (operations.h) need of a durable store:
// the rows of ids and letters within one transaction, and transactions of their own. A store that
// implements these two has both protocols.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "once/message_id.h"
#include "once/operations.h"
#include "once/outbox.h"
#include "once/position.h"
#include "once/transaction.h"
#include "src/stores/claim_rules.h"

namespace once::stores {

// Values of an outbox row's state, as they are stored.
enum class OutboxState : std::uint8_t {
  kPending = 0,
  kPublished = 1,
  kParked = 2,
  kHeld = 3,  // the letter of a claim that is dying: its owner publishes it, not the relay
};

// A kept letter, and the rows of its id.
struct KeptLetter {
  StoredFailure failure;  // `state` is what others see of the id
  IdRows rows;
};

// The rows within one transaction, its own writes included. After a call that fails, the
// transaction can only be rolled back. Thread-safety: as the transaction.
class Rows {
 public:
  Rows() = default;
  Rows(const Rows&) = delete;
  Rows& operator=(const Rows&) = delete;
  virtual ~Rows() = default;

  // Says which ids Find() will be asked for, so that a server far away is asked once for all.
  virtual absl::Status Expect(std::span<const IdKey> /*keys*/) { return absl::OkStatus(); }
  virtual absl::StatusOr<IdRows> Find(const IdKey& key) = 0;
  // By what the claims among them are judged: a moment not before the rows were locked.
  virtual LeaseClock clock() const = 0;
  // Replaces the record; kAbsent removes it.
  virtual absl::Status PutRecord(const IdKey& key, const IdRecord& record) = 0;
  // nullopt, and a claim that says nothing, removes the row.
  virtual absl::Status PutClaim(const IdKey& key, const std::optional<ClaimRow>& claim) = 0;
  virtual absl::Status PutResult(const IdKey& key, std::string_view result) = 0;  // empty: none
  virtual absl::StatusOr<std::string> FindResult(const IdKey& key) = 0;
  // False only while it is known that nobody has ever claimed an id: nobody then needs to look.
  virtual bool has_claims() const { return true; }

  // For the relay. A row whose origin is there already is left as it is: false. A letter makes the
  // older ones of its id void.
  virtual absl::StatusOr<bool> PutOutboxRow(const OutboxRow& row) = 0;
  // A letter that the relay never sees, since the owner of a claim publishes it …
  virtual absl::Status HoldLetter(const IdKey& key, const OutboxRow& row) = 0;
  // … and has done so.
  virtual absl::Status MarkLetterPublished(const IdKey& key) = 0;
  // Letters of `key` are no longer kept.
  virtual absl::Status VoidLetters(const IdKey& key) = 0;
  virtual absl::Status DropLetter(std::int64_t number) = 0;
  // nullopt: there is none, or it is void.
  virtual absl::StatusOr<std::optional<KeptLetter>> FindLetter(std::int64_t number) = 0;
  // The ordinal of an id's next redrive: -1, -2 …
  virtual absl::StatusOr<std::int32_t> NextRedrive(const IdKey& key) = 0;

  virtual absl::StatusOr<std::optional<StoredPosition>> FindPosition(const PartitionKey& key) = 0;
  // Inserts or replaces.
  virtual absl::Status PutPosition(const StoredPosition& row) = 0;
};

// Transactions of the store's own. Thread-safety: safe for concurrent use.
class RowTransactions {
 public:
  RowTransactions() = default;
  RowTransactions(const RowTransactions&) = delete;
  RowTransactions& operator=(const RowTransactions&) = delete;
  virtual ~RowTransactions() = default;

  // `work` in a transaction of its own, committed as durable as `wanted` if it returns OK, rolled
  // back otherwise. `operation` is for messages. By the seam contract of executor.h.
  virtual absl::Status Write(std::string_view operation, Durability wanted,
                             absl::FunctionRef<absl::Status(Rows&)> work) = 0;
  // As ClaimStore::Sync().
  virtual absl::Status Sync() = 0;
  // A fence of this opening that no other claim has or had.
  virtual Fence NewFence() = 0;
  // In front of messages: "sqlite".
  virtual std::string_view store_name() const = 0;
};

// What a transaction writes of an id. Whoever held it holds it no more, and what is settled needs
// no letter.
absl::Status WriteId(Rows& rows, const IdWrite& write);

}  // namespace once::stores
