// What the fake store holds, as plain data that checkers can read, and the change that one
// transaction makes to it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "once/outbox.h"
#include "once/position.h"
#include "once/transaction.h"

namespace once::testing {

// One row of the effects table. There is no unique key, so a second effect of an id shows.
struct EffectRow {
  std::string scope;
  std::string id;
  std::string value;
  TopicPartition partition;
  std::int64_t offset = 0;

  friend bool operator==(const EffectRow&, const EffectRow&) = default;
};

struct OutboxEntry {
  std::int64_t sequence = 0;
  OutboxRow row;
  bool is_published = false;
  bool is_parked = false;
};

struct StoreState {
  std::map<PartitionKey, PositionStamp> positions;
  std::map<std::string, IdRecord> ids;  // by EncodeIdKey()
  std::vector<EffectRow> effects;
  std::vector<OutboxEntry> outbox;  // by sequence
  std::int64_t next_sequence = 1;
};

// What becomes visible at once when a transaction commits.
struct StoreChange {
  struct Position {
    PartitionKey key;
    PositionStamp stamp;
    bool is_new = false;  // the row was created
  };
  struct Id {
    std::string key;  // EncodeIdKey()
    IdRecord record;
  };
  std::vector<Position> positions;
  std::vector<Id> ids;
  std::vector<EffectRow> effects;
  std::vector<OutboxRow> outgoing;
  std::vector<std::int64_t> published;
  std::vector<std::int64_t> parked;
  // Of the first row of `outgoing`, fixed when the change is applied; 0: the next one that is free.
  std::int64_t first_sequence = 0;
};

void Apply(const StoreChange& change, StoreState& state);

}  // namespace once::testing
