// What the fake store holds, as plain data that checkers can read, and the change that one
// transaction makes to it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "once/claims.h"
#include "once/operations.h"
#include "once/outbox.h"
#include "once/outgoing_operations.h"
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

struct PositionRow {
  PositionStamp stamp;
  std::int64_t reach = 0;
  std::optional<AppliedRecord> last_applied = std::nullopt;
  PositionDirective directive = PositionDirective::kNone;
};

// What the claim protocol keeps with an id.
struct ClaimRecord {
  Fence fence;  // meaningful while claimed or dying
  absl::Time lease_end = absl::InfinitePast();
  bool is_begun = false;                             // by the owner of the fence
  bool maybe_ran = false;                            // an invocation was lost once: never forgotten
  IdRecord released;                                 // what Release() restores
  Disposition disposition = Disposition::kRejected;  // dying
  std::string result;                                // completed

  friend bool operator==(const ClaimRecord&, const ClaimRecord&) = default;
};

struct IdEntry {
  IdRecord record;
  ClaimRecord claim;

  friend bool operator==(const IdEntry&, const IdEntry&) = default;
};

// What a log of outgoing messages lies in: rows that transactions append, and facts that only the
// log understands.
struct OutgoingTables {
  std::map<std::int64_t, OutgoingRow> rows;
  std::map<std::string, std::string> facts;
  std::int64_t last = 0;  // the greatest number that a row has got
};

struct StoreState {
  std::map<PartitionKey, PositionRow> positions;
  std::map<std::string, IdEntry> ids;  // by EncodeIdKey()
  std::vector<EffectRow> effects;
  std::vector<OutboxEntry> outbox;  // by sequence
  std::map<std::string, std::string, std::less<>> notes;
  std::int64_t next_sequence = 1;
  OutgoingTables outgoing;
};

// What becomes visible at once when a transaction commits.
struct StoreChange {
  struct Position {
    PartitionKey key;
    PositionRow row;
    bool is_new = false;  // the row was created
  };
  struct Id {
    std::string key;  // EncodeIdKey()
    IdEntry entry;
    Fence by = {};  // of the claim that this change was made under; none: of a transaction
  };
  std::vector<Position> positions;
  std::vector<Id> ids;
  // Of Transaction::Publish().
  struct Sent {
    OutgoingMessage message;
    std::int64_t number = 0;  // 0: the next one that is free when the transaction commits
  };
  // What a log of outgoing messages writes down.
  struct Fact {
    std::string key;
    std::optional<std::string> value;  // nullopt: forgotten
  };
  struct Range {
    std::int64_t first = 0;
    std::int64_t last = 0;
  };
  std::vector<StoredNote> notes;  // in the order of the writes; an empty value: forgotten
  std::vector<EffectRow> effects;
  std::vector<OutboxRow> outgoing;
  std::vector<std::int64_t> published;
  std::vector<std::int64_t> parked;
  std::vector<Sent> sent;
  absl::Time sent_at = absl::UnixEpoch();  // fixed when the change is applied
  std::vector<Fact> facts;
  std::vector<Range> dropped;  // rows of the log of outgoing messages
  // Of the first row of `outgoing`, fixed when the change is applied; 0: the next one that is free.
  std::int64_t first_sequence = 0;
  Durability durability = Durability::kMachine;
};

void Apply(const StoreChange& change, StoreState& state);

}  // namespace once::testing
