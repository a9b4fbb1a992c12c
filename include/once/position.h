// The row a transactional store keeps per consumed partition, and the strict compare-and-set on it
// that fences every other writer. Position is the first offset not yet settled; revision grows by
// one in every transaction that touches the partition; writer is a random tag, drawn afresh at
// every reading of the row, so that another's "revision + 1" is never taken for ours. Source of the
// protocol: docs/guarantees.md, "The position row".
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>

#include "once/message_id.h"

namespace once {

// A partition as a broker names it.
struct TopicPartition {
  std::string topic;
  std::int32_t partition = 0;

  friend auto operator<=>(const TopicPartition&, const TopicPartition&) = default;
};

// "orders[3]", as logs and errors show it.
std::string ToString(const TopicPartition& partition);

// A partition as a store knows it: other groups and clusters have rows of their own.
struct PartitionKey {
  std::string cluster;
  std::string group;
  TopicPartition partition;

  friend auto operator<=>(const PartitionKey&, const PartitionKey&) = default;
};

struct PositionStamp {
  std::int64_t position = 0;
  std::int64_t revision = 0;
  std::uint64_t writer = 0;

  friend bool operator==(const PositionStamp&, const PositionStamp&) = default;
};

// The record behind a position, as it was when it was applied. Compared with what the broker has
// at that offset when the partition is assigned: another one means a recreated topic or a log that
// was cut and written anew.
struct AppliedRecord {
  std::int64_t offset = 0;
  std::int64_t timestamp_ms = -1;  // Message::timestamp_ms()
  Fingerprint fingerprint;         // Fingerprint::Of(value), whatever function the consumer uses
  // The partition's log time after this record, in milliseconds since the Unix epoch; -1 unknown.
  // It never goes back, nor beyond a receipt, and each batch raises it to its earliest record. By
  // it, and by no clock, a store tells which ids are old enough to be forgotten. Not compared.
  std::int64_t log_time_ms = -1;

  friend bool operator==(const AppliedRecord&, const AppliedRecord&) = default;
};

// What an operator wants of a row; the next owner obeys, and its first commit clears it.
enum class PositionDirective : std::uint8_t {
  kNone = 0,
  kSet = 1,       // go on at the row's position, whatever the broker and the log say
  kAdopt = 2,     // go on at the group's committed offset
  kEarliest = 3,  // go on with the oldest message there is
  kLatest = 4,    // go on with the next message to come
};

// What Begin locks: the row must equal `expected` in all three fields.
struct PositionLock {
  PartitionKey key;
  PositionStamp expected;
};

// What Commit writes: position = `position`, revision = the locked revision + 1, writer unchanged,
// the directive cleared.
struct PositionUpdate {
  PartitionKey key;
  std::int64_t position = 0;
  // The end of what a handler may have been invoked for. Beyond `position` after an unclean end.
  std::int64_t reach = 0;
  std::optional<AppliedRecord> last_applied = std::nullopt;  // nullopt: none, or not known
};

// Makes this owner the writer of a row: reads it under its lock, adds one to its revision and
// writes `writer`. A row that does not exist is created at `start`, revision 1, if it may be.
struct TakeRequest {
  PartitionKey key;
  std::uint64_t writer = 0;
  std::int64_t start = 0;
  bool may_create = true;  // false: a row that does not exist stays so
};

struct TakenPosition {
  std::optional<PositionStamp> previous;  // nullopt: there was no row
  PositionStamp current;                  // what this owner must expect from now on, if …
  bool exists = true;                     // … there is a row now
  std::int64_t reach = 0;                 // `position` where a row was created
  std::optional<AppliedRecord> last_applied = std::nullopt;
  PositionDirective directive = PositionDirective::kNone;
  // No row, but one of the same group, topic and partition in this other cluster: a failover.
  std::string other_cluster = {};
};

}  // namespace once
