// IdTable: the ids of an in-memory store, with the claims on them. It knows neither locks nor
// clocks: who calls it holds the one and has read the other. Private to src/memory.
// Thread-safety: none of its own.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "once/claims.h"
#include "once/operations.h"
#include "once/transaction.h"

namespace once::memory {

class IdTable {
 public:
  // What a transaction sees at `now`. A claim whose lease has ended is no obstacle: the record is
  // what the next claimer would find.
  IdRecord Find(const std::string& encoded_key, absl::Time now) const;
  // Ends any claim on the id: its owner's later words find another fence, or none.
  void Put(const std::string& encoded_key, const IdRecord& record);
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

  static bool IsOver(const Entry& entry, absl::Time now);
  // What remains of a claim that its owner has lost.
  static void EndHold(Entry& entry);
  static ClaimResult AnswerHolder(const Entry& entry);
  static void Take(const ClaimRequest& request, absl::Time lease_end, Entry& entry);
  // The entry that `claim` holds, in state `wanted`; else the reason in `refusal`.
  Entry* FindHeld(const Claim& claim, std::string_view operation, absl::Status& refusal,
                  std::optional<IdState> wanted = IdState::kClaimed);
  // `entry` ends in `state`, held by nobody.
  static void Settle(Entry& entry, IdState state);

  absl::flat_hash_map<std::string, Entry> entries_;  // by EncodeIdKey; none of them absent
};

// "completed", "retrying", …: as refusals name a state.
std::string_view StateName(IdState state);

}  // namespace once::memory
