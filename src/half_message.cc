// One id record for each half message: completed by its local transaction, or discarded by whoever
// had to answer first.
#include "once/half_message.h"

#include <algorithm>
#include <array>
#include <vector>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "once/message_id.h"
#include "once/transact.h"

namespace once {
namespace {

// A transaction that loses a race for an id finds the winner's record the next time.
constexpr int kTransactionsMax = 4;
constexpr std::size_t kForgottenAtOnceMax = 1000;

absl::Status Bad(std::string_view field, std::string_view rule) {
  return absl::InvalidArgumentError(
      absl::StrCat("HalfMessageOptions::", ToAbsl(field), ": ", ToAbsl(rule)));
}

absl::Status Validate(const HalfMessageOptions& options) {
  if (options.store == nullptr) return Bad("store", "is null; open one, e.g. sqlite::OpenStore");
  if (options.scope.empty()) return Bad("scope", "is empty; name the producer group");
  if (options.log == nullptr) return Bad("log", "is null; use NoLog() to log nothing");
  if (options.executor == nullptr) return Bad("executor", "is null; use SystemExecutor()");
  if (options.grace < absl::ZeroDuration()) return Bad("grace", "is negative");
  if (options.horizon <= options.grace) {
    return Bad("horizon", "must be longer than grace, or no absent transaction is ever decided");
  }
  if (options.store->transactions() == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("half messages: store ", options.store->traits().name,
                     " has no transactions, and the answer must lie in the local one; use SQLite, "
                     "RocksDB or PostgreSQL"));
  }
  return absl::OkStatus();
}

// Transact() of this library gives its body a transaction of the store.
StoreTransaction& Engine(Transaction& transaction) {
  return static_cast<StoreTransaction&>(transaction);
}

absl::StatusOr<IdState> Find(StoreTransaction& transaction, const IdKey& key) {
  std::array<IdRecord, 1> records;
  if (absl::Status found = transaction.FindIds({&key, 1}, records); !found.ok()) return found;
  return records[0].state;
}

absl::Status Put(StoreTransaction& transaction, const IdKey& key, IdState state) {
  const IdWrite write = {.key = key, .record = {.state = state}};
  return transaction.PutIds({&write, 1});
}

absl::Status IsForeign(IdState state) {
  return absl::InternalError(
      absl::StrCat("half messages: an id of this scope is ", ToAbsl(ToString(state)),
                   ", which no ledger writes; give the ledger a scope of its own"));
}

}  // namespace

std::string_view ToString(LocalTransactionOutcome outcome) {
  switch (outcome) {
    case LocalTransactionOutcome::kUnknown:
      return "unknown";
    case LocalTransactionOutcome::kCommitted:
      return "committed";
    case LocalTransactionOutcome::kRolledBack:
      return "rolled_back";
  }
  return "unknown";
}

absl::StatusOr<std::unique_ptr<HalfMessageLedger>> HalfMessageLedger::Create(
    HalfMessageOptions options) {
  if (absl::Status status = Validate(options); !status.ok()) return status;
  const StoreTraits store = options.store->traits();
  if (store.durability != Durability::kMachine && LogLevel::kWarning >= options.log->level()) {
    options.log->Log({.level = LogLevel::kWarning,
                      .time = options.executor->Now(),
                      .action = "half_messages_weak",
                      .message = absl::StrCat("store ", store.name,
                                              " may forget what it has "
                                              "answered to brokers: ",
                                              store.weakness),
                      .fields = {}});
  }
  // Apart from the ids of consumers and of Wrap, whose scopes have the same kind of name.
  std::string scope = NamedScope(absl::StrCat("once-half-messages/", options.scope));
  return std::unique_ptr<HalfMessageLedger>(
      new HalfMessageLedger(std::move(options), std::move(scope)));
}

absl::Status HalfMessageLedger::Transact(std::string_view id,
                                         absl::FunctionRef<absl::Status(Transaction&)> body) {
  if (absl::Status valid = ValidateMessageId(id); !valid.ok()) return valid;
  return once::Transact(*options_.store, [&](Transaction& transaction) -> absl::Status {
    const absl::StatusOr<IdState> found = Find(Engine(transaction), KeyOf(id));
    if (!found.ok()) return found.status();
    switch (*found) {
      case IdState::kAbsent:
        break;
      case IdState::kCompleted:
        return absl::AlreadyExistsError(
            "half messages: the local transaction of this id has committed before");
      case IdState::kDiscarded:
        return absl::FailedPreconditionError(
            "half messages: a broker was told that this id is rolled back; send another half "
            "message, or raise .grace if transactions begin so late");
      default:
        return IsForeign(*found);
    }
    // First: whoever asks meanwhile waits for this transaction's end.
    if (absl::Status put = Put(Engine(transaction), KeyOf(id), IdState::kCompleted); !put.ok()) {
      return put;
    }
    return body(transaction);
  });
}

absl::Status HalfMessageLedger::DecideOnce(std::string_view id, absl::Duration age,
                                           LocalTransactionOutcome& outcome) {
  return once::Transact(*options_.store, [&](Transaction& transaction) -> absl::Status {
    const absl::StatusOr<IdState> found = Find(Engine(transaction), KeyOf(id));
    if (!found.ok()) return found.status();
    IdState decided = *found;
    if (*found == IdState::kAbsent) {
      if (age < options_.grace) {
        return absl::UnavailableError(
            "half messages: the local transaction has not committed, and may not have begun");
      }
      if (age > options_.horizon) {
        return absl::OutOfRangeError(
            "half messages: nothing is known of it, and it was sent before .horizon");
      }
      decided = IdState::kDiscarded;
    } else if (*found != IdState::kCompleted && *found != IdState::kDiscarded) {
      return IsForeign(*found);
    }
    outcome = decided == IdState::kCompleted ? LocalTransactionOutcome::kCommitted
                                             : LocalTransactionOutcome::kRolledBack;
    // Also what is there already: it may be visible and not synced yet, and an answer must survive
    // the machine, as this commit does and all before it.
    return Put(Engine(transaction), KeyOf(id), decided);
  });
}

CheckAnswer HalfMessageLedger::Decide(std::string_view id, absl::Duration age) {
  absl::Status status = ValidateMessageId(id);
  if (!status.ok()) return {.reason = std::move(status)};
  for (int i = 0; i < kTransactionsMax; ++i) {
    LocalTransactionOutcome outcome = LocalTransactionOutcome::kUnknown;
    status = DecideOnce(id, age, outcome);
    if (status.ok()) return {.outcome = outcome};
    if (!absl::IsAborted(status)) break;
  }
  return {.reason = std::move(status)};
}

CheckAnswer HalfMessageLedger::Check(std::string_view id, absl::Time sent_at) {
  return Decide(id, options_.executor->Now() - sent_at);
}

// As old as the grace needs, and no older.
CheckAnswer HalfMessageLedger::Settle(std::string_view id) { return Decide(id, options_.grace); }

absl::Status HalfMessageLedger::Forget(std::span<const std::string> ids) {
  for (const std::string& id : ids) {
    if (absl::Status valid = ValidateMessageId(id); !valid.ok()) return valid;
  }
  while (!ids.empty()) {
    const auto some = ids.first(std::min(ids.size(), kForgottenAtOnceMax));
    ids = ids.subspan(some.size());
    std::vector<IdWrite> writes;
    for (const std::string& id : some) writes.push_back({.key = KeyOf(id), .record = {}});
    const absl::Status forgotten = once::Transact(*options_.store, [&](Transaction& transaction) {
      return Engine(transaction).PutIds(writes);
    });
    if (!forgotten.ok()) return forgotten;
  }
  return absl::OkStatus();
}

}  // namespace once
