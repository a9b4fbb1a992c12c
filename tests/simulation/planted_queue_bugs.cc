// Wrong hand-written workers at a queue, wrong stores behind them, and stores that are full: each
// breaks one rule the way real consumers have broken it.
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/testing/queue_worker.h"
#include "tests/simulation/planted_bugs.h"
#include "tests/simulation/wrapped_seams.h"

namespace once::testing {
namespace {

template <absl::Status (*kSettle)(const QueueTurn&)>
void PlantWorker(Scenario& scenario) {
  scenario.settle_delivery = kSettle;
}

// -- Bugs of the loop --

absl::Status AckBeforeCall(const QueueTurn& turn) {
  const absl::Status status = turn.channel.Ack(turn.delivery.tag);
  if (status.ok()) (void)turn.call(turn.delivery.message);
  return status;
}

// Whatever the answer says, there is one.
absl::Status AckAnyVerdict(const QueueTurn& turn) {
  if (!turn.call(turn.delivery.message).ok()) return RequeueAfter(turn, absl::ZeroDuration());
  return turn.channel.Ack(turn.delivery.tag);
}

// "The store has a problem, but the function ran."
absl::Status AckOnError(const QueueTurn& turn) {
  const absl::StatusOr<CallAnswer> answer = turn.call(turn.delivery.message);
  if (answer.ok() && !answer->is_settled()) return RequeueAfter(turn, answer->wait);
  return turn.channel.Ack(turn.delivery.tag);
}

// In progress elsewhere: somebody else will see to it.
absl::Status AckInProgress(const QueueTurn& turn) {
  const absl::StatusOr<CallAnswer> answer = turn.call(turn.delivery.message);
  if (!answer.ok()) return RequeueAfter(turn, absl::ZeroDuration());
  const bool is_over = answer->is_settled() || answer->verdict == CallVerdict::kInProgress;
  return is_over ? turn.channel.Ack(turn.delivery.tag) : RequeueAfter(turn, answer->wait);
}

// Acknowledges over the new channel what the ended one delivered.
absl::Status AckStaleTag(const QueueTurn& turn) {
  const absl::Status status = SettleDelivery(turn);
  if (!absl::IsUnavailable(status)) return status;
  turn.channel.Reopen();
  return turn.channel.Ack(turn.delivery.tag);
}

// The broker's flag says that it was delivered before, not that it was handled.
absl::Status RedeliveredIsDone(const QueueTurn& turn) {
  if (turn.delivery.is_redelivered) return turn.channel.Ack(turn.delivery.tag);
  return SettleDelivery(turn);
}

// The tag as the id: every delivery is another message.
absl::Status TagIsId(const QueueTurn& turn) {
  QueueDelivery renamed = turn.delivery;
  renamed.message.id = absl::StrCat(renamed.message.id, "-", renamed.tag);
  const absl::StatusOr<CallAnswer> answer = turn.call(renamed.message);
  if (!answer.ok() || !answer->is_settled()) return RequeueAfter(turn, absl::ZeroDuration());
  return turn.channel.Ack(turn.delivery.tag);
}

// Gives up what is not settled at the first try, and never gives it back.
absl::Status NeverRequeued(const QueueTurn& turn) {
  const absl::StatusOr<CallAnswer> answer = turn.call(turn.delivery.message);
  if (!answer.ok() || !answer->is_settled()) return absl::OkStatus();
  return turn.channel.Ack(turn.delivery.tag);
}

// -- Bugs of the store --

template <absl::StatusCode kCode>
class TakenForOk : public WrappedTransaction {
 public:
  using WrappedTransaction::WrappedTransaction;
  absl::Status Commit(Durability wanted) override {
    const absl::Status status = inner_->Commit(wanted);
    return status.code() == kCode ? absl::OkStatus() : status;
  }
};

class UnsyncedIsOk : public WrappedClaims {
 public:
  using WrappedClaims::WrappedClaims;
  absl::Status Sync() override {
    (void)inner_.Sync();
    return absl::OkStatus();
  }
};

// A full disk is told like a broken one.
class FullIsBroken : public WrappedStore {
 public:
  using WrappedStore::WrappedStore;
  absl::StatusOr<BeginResult> Begin(std::span<const PositionLock> locks) override {
    absl::StatusOr<BeginResult> begun = inner().Begin(locks);
    if (!absl::IsResourceExhausted(begun.status())) return begun;
    return absl::DataLossError("the store is broken");
  }
};

}  // namespace

const std::vector<PlantedBug>& PlantedQueueBugs() {
  constexpr Budget kNone = {};
  constexpr Budget kOne = {.faults = 1};
  static const std::vector<PlantedBug>* const bugs = new std::vector<PlantedBug>{
      {"ack-before-call", "a delivery is acknowledged and then handled",
       PlantWorker<AckBeforeCall>,            //
       "queue", kNone, Check::kAcknowledged,  //
       "queue", kNone, Check::kAcknowledged},
      {"ack-any-verdict", "what failed is acknowledged", PlantWorker<AckAnyVerdict>,
       "queue-letters", kNone, Check::kAcknowledged,  //
       "queue-letters", kNone, Check::kAcknowledged},
      {"ack-on-error", "an outcome that could not be recorded is acknowledged",
       PlantWorker<AckOnError>,              //
       "queue", kOne, Check::kAcknowledged,  //
       "queue", kOne, Check::kAcknowledged},
      {"ack-in-progress", "what somebody else works on is acknowledged",
       PlantWorker<AckInProgress>,                 //
       "plain-queue", kOne, Check::kAcknowledged,  //
       "plain-queue", kOne, Check::kAcknowledged},
      {"ack-stale-tag", "the tag of an ended channel is acknowledged over a new one",
       PlantWorker<AckStaleTag>,             //
       "queue", kOne, Check::kAcknowledged,  //
       "queue", kOne, Check::kAcknowledged},
      {"redelivered-is-done", "a redelivered message counts as a duplicate",
       PlantWorker<RedeliveredIsDone>,       //
       "queue", kOne, Check::kAcknowledged,  //
       "queue", kOne, Check::kAcknowledged},
      {"tag-is-id", "the delivery tag is the message's id", PlantWorker<TagIsId>, "queue", kNone,
       Check::kMisuse,  //
       "queue", kNone, Check::kAcknowledged},
      {"never-requeued", "what is not settled is neither acknowledged nor given back",
       PlantWorker<NeverRequeued>,               //
       "queue-letters", kNone, Check::kDrained,  //
       "queue-letters", kNone, Check::kDrained},
      {"queue-unknown-is-ok", "a lost answer to a commit is taken for success",
       PlantTransaction<TakenForOk<absl::StatusCode::kUnknown>>,  //
       "queue", kOne, Check::kAcknowledged,                       //
       "queue", kOne, Check::kAcknowledged},
      {"queue-unsynced-is-ok", "an outcome that is not on the disk is acknowledged",
       PlantClaims<UnsyncedIsOk>,                  //
       "plain-queue", kOne, Check::kAcknowledged,  //
       "plain-queue", kOne, Check::kAcknowledged},
      {"full-is-ok", "a commit that found no space is taken for success",
       PlantTransaction<TakenForOk<absl::StatusCode::kResourceExhausted>>,  //
       "one-partition", kOne, Check::kAcknowledged,                         //
       "one-partition", kOne, Check::kAcknowledged},
      {"full-is-broken", "a store without space is given up", PlantStore<FullIsBroken>,
       "one-partition", kOne, Check::kEnds,  //
       "one-partition", kOne, Check::kEnds},
  };
  return *bugs;
}

}  // namespace once::testing
