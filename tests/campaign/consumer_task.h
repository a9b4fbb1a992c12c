// A ConsumerTask says what a consuming child process does: which topic, with which store and
// handler, and what goes wrong in it. It travels as JSON on the child's command line.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/campaign/campaign.h"

namespace once::campaign {

struct ConsumerTask {
  std::string brokers;
  std::string group;
  std::string topic;
  std::string store;    // the path of an SQLite store; a MakePostgresPlace(); "memory"
  std::string effects;  // plain handlers: the file that effects are appended to
  std::string history;  // the file of this process
  bool is_plain = false;
  bool is_cooperative = false;
  int members = 1;       // consumers of the group, sharing the open store
  std::string instance;  // static membership under this prefix; empty: dynamic
  int session_ms = 6000;
  int poll_interval_ms = 10'000;
  int hint_ms = 100;  // ConsumerTimes::commit_interval
  int retry_ms = 20;  // the first backoff
  int batch_messages_max = 1000;
  int invocations_per_beat = 100;
  // After SIGTERM, wait until the outbox is empty before stopping.
  bool empties_outbox = true;
  bool takes_all = false;  // messages that would be rejected succeed: the cause is mended
  // Sends itself SIGTERM at this invocation of its handlers; 0: never.
  int stops_at = 0;
  // The handler kills the process whenever it gets this id.
  std::string poison;
  std::string bug;  // a planted bug (tests/simulation/planted_bugs.h) between engine and systems
  // The last member leaves and comes back about so often; 0: never.
  int churn_ms = 0;
  // The first member is held at this invocation of its own past its poll interval, and notices
  // nothing, until others have handled its messages; 0: never. With a plain handler its leases are
  // not renewed meanwhile.
  int holds_at = 0;
  int lease_ms = 30'000;  // plain handlers
  int reconnect_ms = 0;   // the longest pause before a client connects again; 0: the client's own
  // Looks for losses (LossMode::kReport) with this LossOptions::gap_grace, and goes on behind what
  // the log has deleted; 0: neither.
  int gap_grace_ms = 0;
};

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(ConsumerTask, brokers, group, topic, store, effects,
                                                history, is_plain, is_cooperative, members,
                                                instance, session_ms, poll_interval_ms, hint_ms,
                                                retry_ms, batch_messages_max, invocations_per_beat,
                                                empties_outbox, takes_all, stops_at, poison, bug,
                                                churn_ms, holds_at, lease_ms, reconnect_ms,
                                                gap_grace_ms)

// Beside a history: what the engine and the Kafka client logged, as lines of JSON.
inline constexpr const char* kLogSuffix = ".log";

// The exit code of a child that could not begin.
inline constexpr int kCouldNotBegin = 2;

// Consumes until SIGTERM, then stops. 0: stopped as it should; 1: it could not; kCouldNotBegin. The
// `child` of every campaign that consumes.
int Consume(const Json& task);

}  // namespace once::campaign
