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

// What Begin locks: the row must equal `expected` in all three fields.
struct PositionLock {
  PartitionKey key;
  PositionStamp expected;
};

// What Commit writes: position = `position`, revision = the locked revision + 1, writer unchanged.
struct PositionUpdate {
  PartitionKey key;
  std::int64_t position = 0;
};

// Makes this owner the writer of a row: reads it under its lock, adds one to its revision and
// writes `writer`. A row that does not exist is created at `start`, revision 1.
struct TakeRequest {
  PartitionKey key;
  std::uint64_t writer = 0;
  std::int64_t start = 0;
};

struct TakenPosition {
  std::optional<PositionStamp> previous;  // nullopt: the row was created
  PositionStamp current;                  // what this owner must expect from now on
};

}  // namespace once
