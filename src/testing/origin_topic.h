// An OriginTopic is the topic that the program of a MessageOrigin sends to, with its side topic: it
// cannot be reached while there is an outage, and what is stored in it comes to the consumers, but
// for the records that vanish.
// Thread-safety: none; see fiber_executor.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>

#include "absl/time/time.h"
#include "once/testing/fake_publisher.h"
#include "once/testing/queue_invariants.h"
#include "once/testing/simulation.h"
#include "src/testing/message_origin.h"

namespace once::testing {

class OriginTopic {
 public:
  // Once, from the beginning of the world on; zero: no outage. `vanished`: by number, from 1 on.
  struct Trouble {
    absl::Duration outage_after;
    absl::Duration outage;
    const std::set<std::int64_t>& vanished;
  };

  // All outlive it.
  OriginTopic(const Scenario& scenario, Trouble trouble, SeamGate& gate, InvariantChecker& checker,
              SimulationObserver& observer, MessageOrigin::Deliver deliver);
  OriginTopic(const OriginTopic&) = delete;
  OriginTopic& operator=(const OriginTopic&) = delete;

  FakeTopics& topics() { return topics_; }
  std::shared_ptr<MarkSource> ConnectMarks(std::shared_ptr<Process> process);

  // A record of this message of the scenario is stored. False: it has vanished again.
  bool OnStored(const OutgoingMessage& stored, std::size_t post);
  // What is sent for a message of the scenario, without headers. `is_too_large`: for the topic.
  OutgoingMessage MessageOf(std::size_t post, std::size_t keys, bool is_too_large) const;

 private:
  const Scenario& scenario_;
  const Trouble trouble_;
  InvariantChecker& checker_;
  const MessageOrigin::Deliver deliver_;
  FakeTopics topics_;
  std::int64_t stored_ = 0;  // records
};

}  // namespace once::testing
