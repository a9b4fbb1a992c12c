// IdTable: the ids of an in-memory store, with the claims on them. It knows neither locks nor
// clocks: who calls it holds the one and has read the other. Private to src/memory.
// Thread-safety: none of its own.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "once/claims.h"
#include "once/operations.h"
#include "once/transaction.h"
#include "src/id_hash.h"
#include "src/memory/completed_ids.h"
#include "src/memory/staged_id_writes.h"

namespace once::memory {

class IdTable {
 public:
  // What a transaction sees at `now`. A claim whose lease has ended is no obstacle: the record is
  // what the next claimer would find.
  IdRecord Find(const IdKey& key, absl::Time now) const { return Find(key, HashOf(key), now); }
  // Of all at once; quicker where they are many. REQUIRES: records.size() == keys.size().
  void Find(std::span<const IdKey> keys, absl::Time now, std::span<IdRecord> records) const;
  // Ends any claim on the id: its owner's later words find another fence, or none.
  void Put(const IdKey& key, const IdRecord& record) { Put(key, HashOf(key), record); }
  // Of all that a transaction has staged, in order.
  void Put(const StagedIdWrites& writes);
  // Every scope's record of `id`, in the order of the scopes.
  std::vector<StoreOperations::FoundId> FindInEveryScope(const std::string& id,
                                                         absl::Time now) const;

  ClaimResult TryClaim(const ClaimRequest& request, absl::Time now, absl::Duration lease);

  // By the contract of ClaimStore; kFailedPrecondition where the fence holds a record whose state
  // does not permit the call.
  absl::Status Begin(const Claim& claim);
  absl::Status Renew(const Claim& claim, absl::Time lease_end);
  absl::Status Complete(const CompletedClaim& completed);
  absl::Status Fail(const FailedClaim& failed, absl::Time now);
  absl::Status Condemn(const DyingClaim& dying);
  absl::Status Kill(const Claim& claim);
  absl::Status Discard(const Claim& claim);
  absl::Status Release(const Claim& claim);

 private:
  struct Hold {
    Fence fence;
    absl::Time lease_end;
    bool is_begun = false;
    IdRecord former;  // what Release() goes back to
  };
  struct Entry {
    IdRecord record;
    // An invocation was begun whose end nobody knows. Stays until the id is settled or redriven.
    bool may_have_run = false;
    Disposition disposition = Disposition::kRejected;  // of a dying record
    std::string result;                                // of a completed one
    std::optional<Hold> hold;
  };

  IdRecord Find(const IdKey& key, std::uint64_t hash, absl::Time now) const;
  void Put(const IdKey& key, std::uint64_t hash, const IdRecord& record);
  static IdRecord RecordAt(const Entry& entry, absl::Time now);
  static bool IsOver(const Entry& entry, absl::Time now);
  // What remains of a claim that its owner has lost.
  static void EndHold(Entry& entry);
  // Why `request` cannot have the id now; nullopt: it can. REQUIRES: no claim that is over.
  static std::optional<ClaimResult> FindObstacle(const Entry& entry, const ClaimRequest& request,
                                                 absl::Time now);
  static ClaimResult AnswerHolder(const Entry& entry);
  static void Take(const ClaimRequest& request, absl::Time lease_end, Entry& entry);
  // The entry that `claim` holds, in state `wanted`; else the reason in `refusal`.
  Entry* FindHeld(const Claim& claim, std::string_view operation, absl::Status& refusal,
                  std::optional<IdState> wanted = IdState::kClaimed);
  // `entry` ends in `state`, held by nobody.
  static void Settle(Entry& entry, IdState state);

  // An id is in one of the two. Most are completed and nothing else, and few of the rest: so a
  // transaction that meets new ids looks at one cache line for each.
  CompletedIds completed_;
  absl::flat_hash_map<std::string, Entry> entries_;  // by EncodeIdKey; none of them absent
};

}  // namespace once::memory
