// Producing is the part of a scenario in which its messages do not lie in the log but are sent
// there, by a program that has a Producer or a spool: it sends each message, again when it was told
// that it may not be stored, and forgets nothing but what dies with it. It is killed and started
// anew, its machine loses its power, its clients break and are replaced, brokers go away, and
// records vanish between broker and consumers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>

#include "absl/time/time.h"

namespace once::testing {

// By which way messages are sent.
enum class Road : std::uint8_t {
  kDirect,          // once::Producer
  kWriteAhead,      // a spool, SpoolMode::kWriteAhead
  kWhenUnreachable  // a spool, SpoolMode::kWhenUnreachable
};

struct Producing {
  Road road = Road::kDirect;
  // Message i is sent by the writer of number i modulo that, in order, and has the key of number i
  // modulo `keys`.
  std::size_t writers = 1;
  std::size_t keys = 2;
  // A writer waits for the outcome of each message before it sends the next one.
  bool is_one_by_one = false;
  // How many messages may have no outcome.
  std::size_t messages_max = 100;
  // Kept waiting for room no longer than that.
  absl::Duration send_timeout = absl::Seconds(1);
  absl::Duration delivery_timeout = absl::Seconds(2);
  absl::Duration unreachable_after = absl::Milliseconds(300);
  // Of a spool: rows on the disk, and what Send() does beyond them.
  std::size_t rows_max = 1000;
  bool is_refused_when_full = false;

  bool has_partial_delivery = false;
  // Of Scenario::messages: larger than the topic takes …
  std::set<std::size_t> too_large;
  // … of which the broker says so, not the client.
  bool is_refused_late = false;
  // Records of a client that breaks, or whose process dies, may arrive a while later.
  bool lands_late = false;
  // No broker answers from then on, for so long.
  absl::Duration outage_after;
  absl::Duration outage;
  // The program leaves gracefully so long after each start; zero: only when all is sent.
  absl::Duration stop_after;
  // The program asks, so long after each start, what of all it has sent has arrived; zero: never.
  absl::Duration flush_after;

  // Of the records in the topic, counted from 1 in the order in which they were stored: what the
  // broker has acknowledged and no consumer ever gets.
  std::set<std::int64_t> vanished;
};

}  // namespace once::testing
