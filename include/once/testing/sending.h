// Sending is the part of a scenario in which its messages do not lie in the log but are published:
// a program commits them with transactions of a store of its own, the relay of that store's outbox
// sends them to the topic, and consumers read them there. The program is killed and started anew,
// its store may lose what was not synced, its clients break, and records may vanish between broker
// and consumers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <vector>

#include "absl/time/time.h"
#include "once/testing/fake_store.h"

namespace once::testing {

// One transaction of the program.
struct SentTogether {
  std::vector<std::size_t> messages;  // of Scenario::messages, in the order of the calls
  // Published after a savepoint to which the program then goes back: they are never to be seen.
  std::vector<std::size_t> undone;
  std::size_t writer = 0;
  absl::Duration delay;     // it begins so long after the beginning, or later
  absl::Duration open_for;  // between its last message and its end
  bool is_rolled_back = false;
  bool is_synced = true;  // false: a machine that loses its power may lose it
};

struct Sending {
  // Those of one writer run one after the other, until each is committed or, where that is wanted,
  // has been rolled back.
  std::vector<SentTogether> transactions;
  std::size_t writers = 1;
  std::size_t keys = 2;  // message i has the key of number i modulo that
  StoreModel store_model = StoreModel::kOneTransaction;

  std::size_t round_rows_max = 4;
  int rounds_in_flight_max = 2;
  bool has_partial_delivery = false;
  // Of Scenario::messages: larger than the topic takes …
  std::set<std::size_t> too_large;
  // … of which the broker says so, not the client.
  bool is_refused_late = false;
  // No broker answers from then on, for so long.
  absl::Duration outage_after;
  absl::Duration outage;
  // An operator looks at what is parked so long after each start, and has it tried again, or, where
  // that is wanted, gives it up; zero: nobody does.
  absl::Duration operator_after;
  bool is_given_up = false;
  // Records of a relay's client that breaks, or whose process dies, may arrive a while later.
  bool lands_late = false;
  // The program leaves gracefully so long after each start; zero: only when all is sent.
  absl::Duration stop_after;

  // Of the records in the topic, counted from 1 in the order in which they were stored: what the
  // broker has acknowledged and no consumer ever gets.
  std::set<std::int64_t> vanished;

  // Planted bugs of the program's store, see FakeStoreOptions.
  bool sends_at_once = false;
  bool keeps_undone_messages = false;
  bool numbers_at_once = false;
};

}  // namespace once::testing
