// The SendingSide of an execution: the program that commits messages with a store of its own, life
// after life, the relay in it, the topic and its side topic, and what the consumers read of the
// latter. Its rules: sending_invariants.h.
// Thread-safety: none; see fiber_executor.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "once/outbox_relay.h"
#include "once/testing/fake_store.h"
#include "once/testing/simulation.h"
#include "src/testing/message_origin.h"
#include "src/testing/origin_topic.h"
#include "src/testing/sending_invariants.h"

namespace once::testing {

class SendingSide final : public MessageOrigin {
 public:
  // REQUIRES: scenario.sending; all outlive it.
  SendingSide(const Scenario& scenario, SeamGate& gate, InvariantChecker& checker, Deliver deliver);

  void Drive() override;
  void Stop() override;
  // All is committed that shall be, all of that is sent or parked, and the side topic says so.
  bool is_done() const override { return is_done_; }
  std::string Complaint() const override;
  void CheckEnd() override { invariants_.CheckEnd(); }
  std::shared_ptr<MarkSource> ConnectMarks(std::shared_ptr<Process> process) override {
    return topic_.ConnectMarks(std::move(process));
  }
  StreamLedger& ledger() override { return invariants_.ledger(); }

 private:
  // One life of the program.
  struct Life;

  void Live(Life& life);
  void Write(Life& life, std::size_t writer);
  void Watch(Life& life);
  void Operate(Life& life);
  absl::Status Attempt(Life& life, const SentTogether& together);
  absl::Status PublishAll(Transaction& transaction, const std::vector<std::size_t>& posts);
  OutgoingMessage MessageOf(std::size_t post) const;
  OutboxRelayOptions RelayOptions(Life& life);
  bool IsSettled(std::size_t transaction) const;
  bool IsAllCommitted() const;
  void LosePower();

  const Scenario& scenario_;
  const Sending& sending_;
  FiberScheduler& scheduler_;
  InvariantChecker& checker_;
  SendingInvariants invariants_;
  FakeStore store_;
  OriginTopic topic_;
  const absl::Time begin_;
  std::set<std::size_t> rolled_back_;  // of Sending::transactions, that have been
  int lives_ = 0;
  Life* life_ = nullptr;
  absl::Status last_end_;
  bool is_done_ = false;
  bool is_over_ = false;
};

}  // namespace once::testing
