// The InvariantChecker watches one simulated execution and says the first rule that it broke: the
// invariants of docs/guarantees.md, judged on what the fakes hold, and protocol rules, judged on
// the calls themselves. State alone is not enough: a strict compare-and-set hides an engine that
// takes an unknown commit for a failure, until the day the store rolls back.
//
// The log must carry each message's id in the header `id`, and a handler that succeeds must append
// exactly one effect (EffectWriter::Append). A plain handler tells the checker what it does:
// claims().
// Thread-safety: none; see fiber_executor.h.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "once/guarantee.h"
#include "once/message.h"
#include "once/testing/claim_invariants.h"
#include "once/testing/fake_log.h"
#include "once/testing/fake_store.h"
#include "once/testing/observer.h"
#include "once/testing/queue_invariants.h"

namespace once::testing {

enum class Check : std::uint8_t {
  kOneEffect,         // I1: at most one committed effect per (scope, id)
  kOneOutcome,        // I2: below the position every message has exactly one outcome
  kAcknowledged,      // I3: the broker's offset never passes what had a durable outcome
  kAtomic,            // I4: id, effect and dead letter of one transaction appear together
  kWatermark,         // a position never goes back, nor past the end of the log
  kPublished,         // I8: every committed letter is published, none without its commit
  kDrained,           // I10: once faults stop, everything is handled in bounded time
  kRightOutcome,      // I7: a message becomes what its handler wants; conflicts are told
  kReadAfterUnknown,  // no Begin after an unknown end before the row was taken anew
  kExpectedStamp,     // Begin expects what this owner last took or committed
  kFencedEffect,      // I5: nobody commits on a row whose writer is somebody else
  kOrder,             // I6: what waits in a partition holds back what comes after it
  kHandledAgain,      // no handler runs for an id that is settled in what its transaction sees
  kClaimStates,       // a claimed record goes only where the protocol lets it go
  kBegun,             // no plain handler runs before its Begun() was answered OK
  kAttempts,          // I11: a handler is invoked so often and no more
  kIdentity,          // no handler runs over a log or a store that is another one
  kGapReported,       // what was deleted unread is told
  kLosses,            // I9: of numbered messages none is missed that is there
  kNumbers,           // a number never means two messages, and is durable before it is sent
  kTold,              // what a sender is told of a message is true, comes once, and in time
  kMisuse,            // the contract of a seam is kept
  kEnds,              // nobody waits for ever, spins, or survives its own death
};
inline constexpr std::size_t kCheckCount = static_cast<std::size_t>(Check::kEnds) + 1;
// "one-effect" and so on.
std::string_view ToString(Check check);

struct Violation {
  Check check = Check::kOneEffect;
  std::string what;
  int partition = -1;  // of the message or row concerned; -1: none
  std::string id;      // of the message; empty: none
};

// One line of the story of an execution.
struct HistoryLine {
  absl::Time time;
  std::string who;
  std::string what;
  int partition = -1;  // -1: concerns all
  std::string id;      // empty: concerns all messages of the partition
};

struct CheckerOptions {
  std::string scope;
  HandlerKind handler = HandlerKind::kTransactional;
  int attempts_max = 1;    // RetryPolicy::max_attempts
  bool has_queue = false;  // the log only says what was sent: no positions, no letters
  // Switched off, e.g. to see whether the state invariants find a bug alone.
  std::vector<Check> ignored;
  bool is_recording = false;
};

class InvariantChecker : public SimulationObserver {
 public:
  explicit InvariantChecker(CheckerOptions options)
      : options_(std::move(options)),
        claims_(*this, {.scope = options_.scope,
                        .attempts_max = options_.attempts_max,
                        .has_letters = !options_.has_queue}),
        queue_(*this, options_.scope) {}

  // REQUIRES: called once, before anything happens; all outlive the checker's use.
  void Watch(FiberScheduler& scheduler, const FakeLog& log);

  void OnTake(const Process& process, const PartitionKey& key, const PositionStamp& current,
              const absl::Status& known) override;
  void OnBegin(const Process& process, std::span<const PositionLock> locks) override;
  void OnCommit(const Process& process, std::span<const PositionLock> locks,
                const StoreChange& change, const absl::Status& known) override;
  void OnApply(int process, std::span<const PositionLock> locks, const StoreChange& change,
               const StoreState& before) override;
  void OnApplied(const StoreChange& change, const StoreState& state) override;
  void OnSynced(const StoreState& state) override;
  void OnLost(const StoreState& before, const StoreState& state) override;
  void OnTryClaim(const Process& process, std::span<const ClaimRequest> requests,
                  std::span<const ClaimResult> results, const absl::Status& known) override;
  void OnClaimCall(const Process& process, Seam call, std::span<const Claim> claims,
                   std::span<const absl::Status> outcomes, const absl::Status& known) override;
  void OnMisuse(const Process& process, std::string_view what) override;
  void OnAcknowledge(const Process& process, const TopicPartition& partition,
                     std::int64_t offset) override;
  void OnQueueAck(const Process& process, std::int64_t number) override;
  void OnPublish(const Process& process, const OutgoingMessage& message) override;

  // A handler is about to run. Called by the handler itself.
  void OnHandler(const Process& process, const Message& message, const EffectWriter& effects);
  // The same for a plain handler, whose effects the checker keeps.
  ClaimInvariants& claims() { return claims_; }
  const ClaimInvariants& claims() const { return claims_; }
  void CheckMessage(const Message& message);
  void CheckOrder(const StoreChange& change, const StoreState& state);

  // Between two acts: the log is empty, or another store takes over what is handled up to here.
  void OnRecreated();
  void OnNewStore();

  // How often an attempt of this id was recorded before its handler ran.
  int RecordedInAdvance(const std::string& id) const;

  // True when every message has an outcome and every letter is out.
  bool IsDrained(const StoreState& state) const;
  // The first partition with a message that the group's offset at the broker has not passed.
  std::optional<int> FindUnacknowledged() const;
  // The checks that belong to the end: all of the log, all letters. Not drained: what has no
  // outcome yet is no loss.
  void CheckEnd(const StoreState& state, bool is_drained);

  void Fail(Check check, std::string what, int partition = -1, std::string id = {});
  // The first one; later ones are its consequences.
  const std::optional<Violation>& violation() const { return violation_; }

  void Record(std::string_view who, std::string what, int partition = -1, std::string id = {});
  bool is_recording() const { return options_.is_recording; }
  const std::vector<HistoryLine>& history() const { return history_; }

  // How the message at `offset` ended, as the state shows it; empty: not at all.
  std::string OutcomeOf(const StoreState& state, int partition, std::int64_t offset) const;

 private:
  // What one process knows of one row.
  struct Knowledge {
    std::optional<PositionStamp> stamp;
    std::uint64_t writer = 0;
    bool is_unknown = false;
  };

  void CheckRow(const StoreChange::Position& position, const StoreState& state,
                std::int64_t before);
  void CheckId(const StoreChange::Id& id, const StoreState& state);
  void CheckAttempt(const StoreChange::Id& id);
  bool IsCompleted(const StoreState& state, const std::string& id) const;
  bool IsSettledByNumber(const StoreState& state, const std::string& id) const;
  static bool HasLetter(const StoreState& state, const std::string& id);
  void CheckOutcome(const StoreState& state, int partition, std::int64_t offset,
                    bool is_due = true);
  void CountEffects(const StoreState& state);
  bool is_plain() const { return options_.handler == HandlerKind::kPlain; }
  std::string KeyOf(const std::string& id) const;
  static std::string IdOf(const LogRecord& record);

  CheckerOptions options_;
  ClaimInvariants claims_;
  QueueInvariants queue_;
  FiberScheduler* scheduler_ = nullptr;
  const FakeLog* log_ = nullptr;
  std::optional<Violation> violation_;
  std::vector<HistoryLine> history_;
  std::map<std::pair<int, int>, Knowledge> knowledge_;  // by process and partition
  // The last attempt that a process recorded before its handler ran; by process and EncodeIdKey.
  std::map<std::pair<int, std::string>, int> recorded_;
  std::unordered_map<std::string, int> recordings_;     // in advance, by EncodeIdKey
  std::unordered_map<std::string, int> invocations_;    // by EncodeIdKey
  std::unordered_map<std::string, int> effect_counts_;  // by EncodeIdKey
  std::vector<std::int64_t> before_;                    // positions before the change at hand
  std::vector<std::int64_t> furthest_;                  // highest position ever visible
  std::vector<std::int64_t> first_;                     // offsets below are of a former store
  std::vector<std::int64_t> durable_;                   // the same of those that were synced
  std::vector<OutgoingMessage> letters_;                // ever committed, and synced
};

}  // namespace once::testing
