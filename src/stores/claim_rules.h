// What a durable store keeps of an id beside its record, and what a claim means once its owner is
// gone: decided here for transactions, claimants and operators of every store alike.
// Pure functions.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/time/time.h"
#include "once/claims.h"
#include "once/transaction.h"

namespace once::stores {

struct ClaimRow {
  std::optional<Fence> fence;  // nullopt: nobody holds the id
  absl::Time lease_end = absl::InfinitePast();
  bool is_begun = false;
  bool may_have_run = false;               // sticky: some invocation's end is not known
  std::optional<Disposition> disposition;  // dying
  Fingerprint fingerprint;                 // of the message that is claimed

  friend bool operator==(const ClaimRow&, const ClaimRow&) = default;
};

struct IdRows {
  IdRecord record;
  std::optional<ClaimRow> claim;
};

// By which a claim is judged: it is over when its lease has ended, and in a store that one process
// at a time has open also when another opening made it.
struct LeaseClock {
  std::uint64_t incarnation = 0;
  absl::Time now;
  bool is_shared = false;  // other openings may be alive
};

bool IsHeld(const ClaimRow& claim, const LeaseClock& clock);

// A claim that is not held, was never lost and is not dying: a store keeps no row for it.
bool SaysNothing(const ClaimRow& claim);

// The same id with every claim that is over turned into what it leaves: an attempt that counts and
// a sticky `may_have_run` if it was begun, nothing if not. Whoever is dying stays so.
IdRows WithoutEndedClaim(IdRows rows, const LeaseClock& clock);

// What of a claim outlives the writing of `record` by somebody else: the doubt whether the handler
// has run, until the message is settled or redriven. Never the fence: its owner has lost.
std::optional<ClaimRow> AfterWriting(const ClaimRow& claim, const IdRecord& record);

// What others see of `rows`: kClaimed while somebody works on it.
IdRecord VisibleRecord(const IdRows& rows, const LeaseClock& clock);

}  // namespace once::stores
