// ProducingInvariants watch a program that sends messages with a Producer or a spool: that what it
// is told of each is true, that no message is overtaken by a later one of its key, that numbers,
// marks and voids tell the truth, and that a spool loses nothing it has taken. What is true is
// known here from what the fakes hold and from what the client was given, never from what the code
// under test says.
// Thread-safety: none; see fiber_executor.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "once/producer.h"
#include "once/sequence.h"
#include "once/testing/fake_publisher.h"
#include "once/testing/fake_store.h"
#include "once/testing/invariants.h"
#include "once/testing/observer.h"
#include "once/testing/producing.h"
#include "src/testing/outgoing_facts.h"
#include "src/testing/stream_ledger.h"

namespace once::testing {

// The header by which one Send() is known: a message that the program sends twice has two.
inline constexpr std::string_view kSendHeader = "send";

class ProducingInvariants : public SimulationObserver {
 public:
  // Told where a record of the topic is stored; false: no consumer ever gets it.
  using Listener = std::function<bool(const OutgoingMessage& message, std::size_t post)>;

  ProducingInvariants(InvariantChecker& checker, FiberScheduler& scheduler, std::string topic,
                      const Producing& producing, absl::Duration gap_grace, Listener on_stored);

  // REQUIRES: called once, before anything happens; both outlive the use of this.
  void Watch(const FakeStore& store, const FakeTopics& topics) {
    store_ = &store;
    topics_ = &topics;
  }
  // Called before anything is judged by what senders were told: tickets are looked at then.
  void set_on_judgement(std::function<void()> look) { look_ = std::move(look); }
  StreamLedger& ledger() { return ledger_; }

  // -- The program --

  // It is about to send: the number for the header.
  std::size_t OnSend(int life, std::size_t post, const OutgoingMessage& message);
  // Send() has returned.
  void OnReturn(std::size_t send);
  void OnTold(std::size_t send, const SendOutcome& outcome);
  std::size_t send_count() const { return sends_.size(); }
  bool is_told(std::size_t send) const {
    return sends_[send].outcome.has_value() || sends_[send].is_over;
  }
  // All that the life has sent since there were so many.
  bool AreTold(int life, std::size_t since) const;
  // None of them has waited for longer than the product says.
  void CheckOverdue(int life);
  // Flush() or Close() begins, and has returned that: `open` is what had no outcome then.
  std::vector<std::size_t> FindOpen(int life);
  void OnAnswer(const std::vector<std::size_t>& open, const Undelivered& undelivered, bool is_end);
  // The process of that life is dead, or has ended.
  void OnEnd(int life);

  // An OK was told of the message, or that no retry can help.
  bool IsSettled(std::size_t post) const;
  // What a spool has taken is published, or can never be.
  bool HasOnlyParked() const { return testing::HasOnlyParked(store_->state(), too_large_); }
  std::set<std::uint64_t> FindEpochs() const { return testing::FindEpochs(store_->state()); }

  // -- The client, under the product --

  int NewClient() { return ++clients_; }

  // A record is handed to the client of that number, by a relay or directly, and was taken.
  void OnOffered(int client, bool is_relay, const OutgoingRecord& record);
  void OnTaken(int client, bool is_relay, const OutgoingRecord& record);
  // It was not taken.
  void OnRefused(std::size_t send, const absl::Status& status);
  // Its report is on its way to the product.
  void OnReport(int client, std::size_t send, const absl::Status& status);
  // The client is gone.
  void OnClientEnd(int client);

  // -- What the fakes hold --

  void OnApplied(const StoreChange& change, const StoreState& state) override;
  void OnLost(const StoreState& before, const StoreState& state) override;
  void OnMisuse(const Process& process, std::string_view what) override;
  void OnPublish(const Process& process, const OutgoingMessage& message) override;

  // What must be when all is sent.
  void CheckEnd();

 private:
  // One Send().
  struct Send {
    std::size_t post = 0;
    int life = 0;
    OutgoingMessage message;
    std::size_t began = 0;     // in the order of all calls and returns …
    std::size_t returned = 0;  // … 0: not yet
    absl::Time time;
    std::optional<SendOutcome> outcome;
    std::map<std::string, std::uint64_t> numbers;  // directly sent, by stream
    int inside = 0;                                // the client that has it; 0: none
    bool is_final = false;                         // the client says that no retry can help
    bool is_in_store = false;
    bool is_stored = false;  // a record of the topic
    bool is_over = false;    // its process has ended
  };

  void OnRecord(const OutgoingMessage& message);
  void CheckContent(const Send& send, const OutgoingMessage& stored);
  void CheckTold(std::size_t number, const SendOutcome& outcome);
  void CheckAcknowledged(std::size_t number, const SendOutcome& outcome);
  void CheckSpooled(std::size_t number);
  void CheckNumber(Send& send, const OutgoingRecord& record);
  // Nobody overtakes: of every message of its key that was sent before it …
  void CheckTurn(std::size_t number, std::string_view what,
                 const std::function<bool(const Send& before)>& may_pass);
  void LearnRows(const StoreState& state);
  void LearnOwed(const StoreState& state);
  bool IsGivenUp(const Send& send) const;
  bool IsOfStore(const SequenceStamp& stamp) const;
  absl::Duration Lateness() const;
  bool has_spool() const { return producing_.road != Road::kDirect; }
  std::string Show(std::size_t number) const;
  void Fail(Check check, std::string what) { checker_.Fail(check, std::move(what)); }
  void Record(std::string_view who, std::size_t number, std::string_view what) const;

  InvariantChecker& checker_;
  FiberScheduler& scheduler_;
  const std::string topic_;
  const Producing& producing_;
  const std::set<std::size_t> too_large_;
  StreamLedger ledger_;
  const Listener on_stored_;
  std::function<void()> look_;
  const FakeStore* store_ = nullptr;
  const FakeTopics* topics_ = nullptr;
  std::vector<Send> sends_;
  std::size_t clock_ = 0;  // of calls and returns
  int clients_ = 0;
  std::map<std::string, std::uint64_t> last_;   // number given, by stream
  std::map<std::string, std::int32_t> places_;  // partitions, by key
  std::map<StreamLedger::Number, std::size_t> taken_;
  std::map<std::int64_t, std::size_t> rows_;  // that there are: to their sends
  struct Copy {
    std::size_t send = 0;
    std::int32_t partition = 0;
    std::int64_t offset = 0;
    std::uint64_t sequence = 0;
  };
  std::vector<Copy> copies_;
};

}  // namespace once::testing
