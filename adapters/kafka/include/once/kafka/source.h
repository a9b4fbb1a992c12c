// kafka::Subscribe joins a consumer group and gives the LogSource that a once::Consumer reads from.
//
//   auto source = once::kafka::Subscribe(
//       {.brokers = "localhost:9092", .group = "billing", .topics = {"payments"}});
//   if (!source.ok()) return source.status();
//
// Nothing is committed, stored, sought or reset behind the consumer's back: automatic commits are
// off and an offset out of range is an error. README.md lists every setting that is fixed, and why.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "once/kafka/properties.h"
#include "once/log.h"
#include "once/source.h"

namespace once::kafka {

// How a group shares out partitions. All members of a group must agree.
enum class AssignmentStrategy : std::uint8_t {
  kEager,       // "range": every rebalance takes all partitions back first
  kCooperative  // "cooperative-sticky": only partitions that move stop
};

struct SourceOptions {
  std::string brokers;              // host:port, several by commas; required
  std::string group;                // consumer group; required
  std::vector<std::string> topics;  // at least one; "^…" is a regular expression
  AssignmentStrategy assignment = AssignmentStrategy::kEager;
  // Static membership: unique in the group. A restart within session_timeout keeps the partitions
  // and causes no rebalance; Close() then does not give them back either. Empty: dynamic.
  std::string instance_id;
  // Silence after which the broker gives the partitions to somebody else.
  absl::Duration session_timeout = absl::Seconds(45);
  // Time without a poll after which the client itself gives up the partitions.
  absl::Duration poll_interval_max = absl::Minutes(5);
  Properties properties;
  std::shared_ptr<LogSink> log = JsonLog();
};

// kInvalidArgument, naming the field or property, for options that cannot work. Does not wait for
// the brokers: they may come up later; the group is joined at the first Poll().
//
// A source that is destroyed without Close() leaves the group without telling its listener, which
// may take up to five seconds. Batches stay valid after both; the last one of them to go destroys
// the client, on whatever thread that happens.
absl::StatusOr<std::unique_ptr<LogSource>> Subscribe(const SourceOptions& options);

}  // namespace once::kafka
