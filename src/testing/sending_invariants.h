// SendingInvariants watch the sending side of one execution, at the instant at which something is
// committed, stored in the topic or said in its side topic: the invariants of an outbox (I8) and of
// the detector of losses (I9). What was numbered, lost and given up is known here from what the
// fakes hold, never from what the code under test says.
// Thread-safety: none; see fiber_executor.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "once/sequence.h"
#include "once/testing/fake_publisher.h"
#include "once/testing/fake_store.h"
#include "once/testing/invariants.h"
#include "once/testing/observer.h"
#include "src/testing/outgoing_facts.h"
#include "src/testing/stream_ledger.h"

namespace once::testing {

// EffectRow::id of what the program writes beside the message, in the same transaction: a message
// is committed exactly when that is.
inline std::string EffectIdOf(std::size_t post) { return std::to_string(post); }

class SendingInvariants : public SimulationObserver {
 public:
  // Told where a record of the topic is stored; false: no consumer ever gets it.
  using Listener = std::function<bool(const OutgoingMessage& message, std::size_t post)>;

  // `too_large`: the messages that no broker takes.
  SendingInvariants(InvariantChecker& checker, FiberScheduler& scheduler, std::string topic,
                    std::set<std::size_t> too_large, absl::Duration gap_grace, Listener on_stored)
      : checker_(checker),
        topic_(std::move(topic)),
        too_large_(std::move(too_large)),
        ledger_(checker, scheduler, topic_, gap_grace),
        on_stored_(std::move(on_stored)) {}

  // REQUIRES: called once, before anything happens; both outlive the use of this.
  void Watch(const FakeStore& store, const FakeTopics& topics) {
    store_ = &store;
    topics_ = &topics;
  }

  void OnApplied(const StoreChange& change, const StoreState& state) override;
  void OnLost(const StoreState& before, const StoreState& state) override;
  void OnMisuse(const Process& process, std::string_view what) override;
  void OnPublish(const Process& process, const OutgoingMessage& message) override;

  // An operator is about to give up that row; and was told so.
  void OnGiveUp(std::int64_t row) { given_up_.insert(row); }
  void OnGivenUp(std::int64_t row, const absl::Status& told);

  // Whether the message is committed; what a store has lost is not.
  bool IsCommitted(std::size_t post) const { return committed_.contains(EffectIdOf(post)); }
  bool HasOnlyParked() const { return testing::HasOnlyParked(store_->state(), too_large_); }
  std::set<std::uint64_t> FindEpochs() const { return testing::FindEpochs(store_->state()); }
  StreamLedger& ledger() { return ledger_; }

  // What must be when all is sent.
  void CheckEnd();

 private:
  void OnRecord(const OutgoingMessage& message);
  void CheckPlaced(const SequenceStamp& stamp, const OutgoingMessage& message, std::size_t post);
  void CheckContent(std::int64_t number, const OutgoingMessage& stored, std::size_t post);
  void CheckOrder(const OutgoingMessage& message, std::size_t post);
  void LearnOwed(const StoreState& state);
  void Fail(Check check, std::string what);

  InvariantChecker& checker_;
  const std::string topic_;
  const std::set<std::size_t> too_large_;
  StreamLedger ledger_;
  const Listener on_stored_;
  const FakeStore* store_ = nullptr;
  std::map<std::string, std::int32_t> places_;  // partitions, by key
  const FakeTopics* topics_ = nullptr;
  std::set<std::string> committed_;  // EffectIdOf
  std::set<std::size_t> published_;
  std::map<std::int64_t, std::size_t> rows_;                       // that there are: to their posts
  std::map<std::size_t, std::set<StreamLedger::Number>> numbers_;  // by post
  std::set<std::int64_t> given_up_;  // rows, by an operator: they may be gone …
  std::set<std::size_t> gone_;       // … and the posts that are
};

}  // namespace once::testing
