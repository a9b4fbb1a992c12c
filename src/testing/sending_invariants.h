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
#include "once/loss.h"
#include "once/sequence.h"
#include "once/testing/fake_publisher.h"
#include "once/testing/fake_store.h"
#include "once/testing/invariants.h"
#include "once/testing/observer.h"
#include "src/stores/outgoing_state.h"

namespace once::testing {

// The header by which a message is known as one of Scenario::messages.
inline constexpr std::string_view kPostHeader = "post";

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
        scheduler_(scheduler),
        topic_(std::move(topic)),
        too_large_(std::move(too_large)),
        gap_grace_(gap_grace),
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

  // Whether the message is committed; what a store has lost is not.
  bool IsCommitted(std::size_t post) const { return committed_.contains(EffectIdOf(post)); }
  // Every row there is can be sent no more: it is too large and parked, or behind such a one of its
  // key. Which rows these are follows from the scenario: whoever parks another one is never done.
  bool HasOnlyParked() const;
  // Epochs of which a stream is not closed, or a void not declared.
  std::set<std::uint64_t> FindEpochs() const;

  // A consumer says what it misses.
  void OnLoss(const Process& process, const LossEvent& event);
  // The consumers' store holds the truth about what is missing; else what is wrong.
  std::optional<std::string> FindUntold(const StoreState& consumers,
                                        const std::vector<PartitionKey>& partitions) const;
  // What must be when all is sent.
  void CheckEnd();

 private:
  struct Copies {
    std::size_t post = 0;
    std::vector<std::int64_t> offsets;
    bool has_arrived = false;  // a consumer gets one of them
  };
  struct Stream {
    std::int32_t partition = 0;
    std::map<std::uint64_t, Copies> stored;        // by number
    std::map<std::uint64_t, absl::Time> declared;  // void
    std::set<std::uint64_t> owed;                  // ever
    std::uint64_t marked = 0;                      // the greatest number that a mark has told
  };

  void OnRecord(const OutgoingMessage& message);
  void OnMark(const OutgoingMessage& message);
  void CheckPlaced(const SequenceStamp& stamp, const OutgoingMessage& message, std::size_t post);
  void CheckContent(std::int64_t number, const OutgoingMessage& stored, std::size_t post);
  void CheckOrder(const OutgoingMessage& message, std::size_t post);
  void CheckMark(Stream& stream, const DecodedMark& mark);
  void LearnOwed(const StoreState& state);
  // Of the rows there are, those that can never be sent: whether each is the first of its key that
  // is too large, by its number.
  std::map<std::int64_t, bool> FindStuck() const;
  bool IsLost(const Stream& stream, std::uint64_t number) const;
  void Fail(Check check, std::string what);
  static std::optional<std::size_t> PostOf(const OutgoingMessage& message);

  InvariantChecker& checker_;
  FiberScheduler& scheduler_;
  const std::string topic_;
  const std::set<std::size_t> too_large_;
  const absl::Duration gap_grace_;
  const Listener on_stored_;
  const FakeStore* store_ = nullptr;
  std::map<std::string, std::int32_t> places_;  // partitions, by key
  const FakeTopics* topics_ = nullptr;
  std::set<std::string> committed_;  // EffectIdOf
  std::set<std::size_t> published_;
  std::map<std::int64_t, std::size_t> rows_;  // that there are: to their posts
  std::map<std::string, Stream> streams_;     // by name
  std::map<std::size_t, std::set<std::pair<std::string, std::uint64_t>>> numbers_;  // by post
  using Number = std::pair<std::string, std::uint64_t>;                             // of a stream
  std::set<Number> vanished_;  // a copy of it has
};

}  // namespace once::testing
