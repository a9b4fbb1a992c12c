// The ProducingSide of an execution: the program that sends messages with a Producer or a spool,
// life after life, the topic and its side topic. Its rules: producing_invariants.h.
// Thread-safety: none; see fiber_executor.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "once/producer.h"
#include "once/testing/fake_store.h"
#include "src/testing/message_origin.h"
#include "src/testing/origin_topic.h"
#include "src/testing/producing_invariants.h"

namespace once::testing {

class ProducingSide final : public MessageOrigin {
 public:
  // REQUIRES: scenario.producing; all outlive it.
  ProducingSide(const Scenario& scenario, SeamGate& gate, InvariantChecker& checker,
                Deliver deliver);

  void Drive() override;
  void Stop() override;
  // Of every message an OK was told, or that no retry can help, and a spool has published what it
  // can.
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
  absl::StatusOr<std::unique_ptr<Producer>> Open(Life& life);
  ProducerOptions OptionsOf(Life& life);
  void Write(Life& life, std::size_t writer);
  void SendOne(Life& life, std::size_t post);
  void AwaitOutcomes(Life& life, std::size_t since);
  void AwaitPublication(Life& life);
  void Ask(Life& life);
  void LookAtTickets();
  // True: and the process is dead now.
  bool DiesHere(Life& life);
  OutgoingMessage MessageOf(std::size_t post) const;
  bool IsAllSettled() const;
  bool IsAllPublished(const Life& life) const;
  bool IsOver(const Life& life) const;
  void LosePower();
  bool has_spool() const { return producing_.road != Road::kDirect; }

  const Scenario& scenario_;
  const Producing& producing_;
  FiberScheduler& scheduler_;
  SeamGate& gate_;
  InvariantChecker& checker_;
  ProducingInvariants invariants_;
  FakeStore store_;
  OriginTopic topic_;
  const absl::Time begin_;
  int lives_ = 0;
  Life* life_ = nullptr;
  bool is_done_ = false;
  bool is_over_ = false;
};

}  // namespace once::testing
