// Half messages, as RocketMQ has them: a broker takes a message and shows it to nobody until its
// producer says that the local transaction it belongs to has committed. A broker that hears nothing
// asks back, any process of the producer, after a minute or a day: has it committed, or not? The
// answer must come from what the local transaction itself has left behind. A HalfMessageLedger
// leaves it and gives it.
//
//   auto ledger = once::HalfMessageLedger::Create({.store = store, .scope = "orders"});
//   … send the half message, which gives `id` …
//   const absl::Status booked = (*ledger)->Transact(id, [&](once::Transaction& transaction) {
//     … INSERT INTO orders …
//   });
//   … tell the broker: commit if booked.ok(), else what (*ledger)->Settle(id) says …
//
//   // When the broker asks:
//   const once::CheckAnswer answer = (*ledger)->Check(id, sent_at);
//
// The hard answer is "rolled back": a transaction that has left nothing may still be on its way.
// Here that is not guessed by the time that has passed. Who answers "rolled back" has written that
// down first, under the same id: a local transaction that comes later finds it and is refused, and
// of two that race the store lets one commit. So no answer is ever taken back, whoever is asked,
// and no clock decides what is right; `grace` only keeps a broker that asks early from refusing
// transactions that have not begun.
//
// What it is not: a way to send. There is no RocketMQ adapter yet.
// Source: docs/half-messages.md; rocketmq.apache.org/docs/featureBehavior/04transactionmessage
// Thread-safety: safe for concurrent use, by several processes too where the store is shared.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "once/dedup_store.h"
#include "once/executor.h"
#include "once/log.h"
#include "once/transaction.h"

namespace once {

enum class LocalTransactionOutcome : std::uint8_t {
  kUnknown,     // ask again later
  kCommitted,   // deliver the message
  kRolledBack,  // drop it: the local transaction has not committed and never will
};

// "unknown", "committed", "rolled_back".
std::string_view ToString(LocalTransactionOutcome outcome);

struct CheckAnswer {
  LocalTransactionOutcome outcome = LocalTransactionOutcome::kUnknown;
  // Why it is not known; OK when it is.
  //   kUnavailable      the local transaction is open, or may not have begun, or the store does not
  //                     answer
  //   kOutOfRange       sent longer ago than `horizon`: what it left may have been forgotten
  //   kInvalidArgument  no valid id
  //   any other         the store's
  absl::Status reason = absl::OkStatus();
};

struct HalfMessageOptions {
  // Where the local transactions write; required. It must have transactions. As good as the store
  // is the answer: one that loses a commit which it had acknowledged has told a broker otherwise.
  std::shared_ptr<DedupStore> store;
  // Keeps the ids apart from others in the same store: the name of the producer group; required.
  std::string scope;
  // A half message that is younger may belong to a transaction that has not begun: Check() says
  // kUnknown. Longer than it takes from sending the half message to the beginning of its local
  // transaction; what takes longer yet is refused, and is run again under another id.
  absl::Duration grace = absl::Minutes(1);
  // Longer than any broker goes on asking. Check() does not judge by an absent row what was sent
  // before: Forget() may have taken it.
  absl::Duration horizon = absl::Hours(72);
  std::shared_ptr<LogSink> log = JsonLog();
  std::shared_ptr<Executor> executor = SystemExecutor();
};

class HalfMessageLedger {
 public:
  // kInvalidArgument or kFailedPrecondition, naming the field and the way out.
  static absl::StatusOr<std::unique_ptr<HalfMessageLedger>> Create(HalfMessageOptions options);
  HalfMessageLedger(const HalfMessageLedger&) = delete;
  HalfMessageLedger& operator=(const HalfMessageLedger&) = delete;

  // As once::Transact, and leaves the id behind, in the same transaction:
  //   OK                  committed; every Check() says so from now on
  //   kAlreadyExists      one with this id has committed before; nothing ran
  //   kFailedPrecondition it was answered that this id is rolled back; nothing has happened, and
  //                       nothing can under this id
  //   kAborted            it met another one of the same id; nothing has happened
  //   kUnknown            it may have committed: Settle() says
  // `id`: the half message's, ValidateMessageId; never used for two.
  absl::Status Transact(std::string_view id, absl::FunctionRef<absl::Status(Transaction&)> body);

  // For a broker that asks. `sent_at`: when the half message was sent, as the broker has it. While
  // the local transaction is open the store makes this wait, for a bounded time.
  CheckAnswer Check(std::string_view id, absl::Time sent_at);

  // Decides now, without grace, for whoever is done with this id: what has not committed never
  // will. kUnknown only where the store cannot say.
  CheckAnswer Settle(std::string_view id);

  // Drops what is kept of these ids; the caller knows that no broker asks for them any more, or
  // that their half messages were sent longer than `horizon` ago. What is not forgotten is kept for
  // ever, some 50 bytes each. A Transact() under a forgotten id runs. kUnknown: call it again.
  absl::Status Forget(std::span<const std::string> ids);

 private:
  explicit HalfMessageLedger(HalfMessageOptions options, std::string scope)
      : options_(std::move(options)), scope_(std::move(scope)) {}

  CheckAnswer Decide(std::string_view id, absl::Duration age);
  absl::Status DecideOnce(std::string_view id, absl::Duration age,
                          LocalTransactionOutcome& outcome);
  IdKey KeyOf(std::string_view id) const { return {.scope = scope_, .id = id}; }

  const HalfMessageOptions options_;
  const std::string scope_;
};

}  // namespace once
