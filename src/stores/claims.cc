// The claim protocol over rows: read under the write lock, compared with the fence, written back.
#include "src/stores/claims.h"

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "once/abseil.h"

namespace once::stores {
namespace {

const Claim& ClaimOf(const Claim& claim) { return claim; }
const Claim& ClaimOf(const CompletedClaim& completed) { return completed.claim; }
const Claim& ClaimOf(const FailedClaim& failed) { return failed.claim; }
const Claim& ClaimOf(const DyingClaim& dying) { return dying.claim; }

const IdKey& KeyOf(const ClaimRequest& request) { return request.key; }
template <typename C>
const IdKey& KeyOf(const C& claim) {
  return ClaimOf(claim).key;
}

template <typename C>
std::vector<IdKey> KeysOf(std::span<const C> claims) {
  std::vector<IdKey> keys;
  keys.reserve(claims.size());
  for (const C& claim : claims) keys.push_back(KeyOf(claim));
  return keys;
}

// Of ids in error messages; they may be any bytes.
std::string Quoted(std::string_view id) {
  return absl::StrCat("\"", absl::CHexEscape(ToAbsl(id)), "\"");
}

// What a call wants of the claim beside its fence.
enum class Wanted : std::uint8_t { kAny, kWorking, kDying, kNotBegun };

// Why `rows` do not permit the call; OK where they do. `what` begins the message.
absl::Status CheckClaim(const Claim& claim, const IdRows& rows, Wanted wanted,
                        const std::string& what) {
  const auto refuse = [&](absl::StatusCode code, const char* reason) {
    return absl::Status(code, absl::StrCat(what, " ", Quoted(claim.key.id), ": ", reason));
  };
  if (!rows.claim || rows.claim->fence != claim.fence) {
    return refuse(absl::StatusCode::kAborted,
                  "the claim is lost: it was settled, or taken over after its lease");
  }
  const bool is_dying = rows.claim->disposition.has_value();
  if (wanted == Wanted::kDying && !is_dying) {
    return refuse(absl::StatusCode::kFailedPrecondition,
                  "the claim is not dying; call Dying() first");
  }
  if (wanted == Wanted::kWorking && is_dying) {
    return refuse(absl::StatusCode::kFailedPrecondition,
                  "the claim is dying; only Kill() and Release() may follow");
  }
  if (wanted == Wanted::kNotBegun && rows.claim->is_begun && !is_dying) {
    return refuse(absl::StatusCode::kFailedPrecondition,
                  "the handler has begun; Complete() or Fail() the claim instead");
  }
  return absl::OkStatus();
}

// outcomes[i] for claims[i], all in one transaction: `change(table, claim, rows)` where the claim
// is what is wanted.
template <typename C, typename Change>
absl::Status ForEach(RowTransactions& store, std::string_view operation, Wanted wanted,
                     std::span<const C> claims, std::span<absl::Status> outcomes, Change change) {
  assert(outcomes.size() == claims.size());
  if (claims.empty()) return absl::OkStatus();
  const std::string what = absl::StrCat(ToAbsl(store.store_name()), ": ", ToAbsl(operation));
  return store.Write(operation, Durability::kProcess, [&](Rows& table) -> absl::Status {
    if (absl::Status read = table.Expect(KeysOf(claims)); !read.ok()) return read;
    for (std::size_t i = 0; i < claims.size(); ++i) {
      const Claim& claim = ClaimOf(claims[i]);
      absl::StatusOr<IdRows> rows = table.Find(claim.key);
      if (!rows.ok()) return rows.status();
      outcomes[i] = CheckClaim(claim, *rows, wanted, what);
      if (!outcomes[i].ok()) continue;
      if (absl::Status changed = change(table, claims[i], *rows); !changed.ok()) return changed;
    }
    return absl::OkStatus();
  });
}

absl::Status PutRows(Rows& table, const IdKey& key, const IdRows& rows) {
  if (absl::Status put = table.PutRecord(key, rows.record); !put.ok()) return put;
  return table.PutClaim(key, rows.claim);
}

// The record in its last state, held by nobody. What has completed or is discarded needs no letter.
absl::Status Settle(Rows& table, const IdKey& key, IdRows rows, IdState state) {
  rows.record.state = state;
  rows.record.not_before = absl::InfinitePast();
  if (!rows.record.fingerprint.is_set()) rows.record.fingerprint = rows.claim->fingerprint;
  rows.claim.reset();
  if (absl::Status put = PutRows(table, key, rows); !put.ok()) return put;
  const bool is_failure = state == IdState::kDead || state == IdState::kUncertain;
  return is_failure ? absl::OkStatus() : table.VoidLetters(key);
}

ClaimResult AnswerHolder(const IdRows& rows) {
  ClaimResult result{.attempt = rows.record.attempt + 1,
                     .first_failed_at = rows.record.first_failed_at};
  if (rows.claim->disposition) {
    result.verdict = ClaimVerdict::kPublish;
    result.attempt = rows.record.attempt;
    result.disposition = *rows.claim->disposition;
  } else {
    result.verdict = rows.claim->may_have_run ? ClaimVerdict::kTakeover : ClaimVerdict::kFresh;
  }
  return result;
}

// Why the id cannot be claimed now; nullopt when it can. `rows` have no ended claim.
std::optional<ClaimResult> FindObstacle(const IdRows& rows, const Fingerprint& fingerprint,
                                        absl::Time now) {
  const IdRecord& record = rows.record;
  const bool is_held = rows.claim && rows.claim->fence;
  if (!record.fingerprint.Matches(fingerprint) ||
      (is_held && !rows.claim->fingerprint.Matches(fingerprint))) {
    return ClaimResult{.verdict = ClaimVerdict::kConflict};
  }
  if (is_held) {
    return ClaimResult{.verdict = ClaimVerdict::kInProgress, .wait = rows.claim->lease_end - now};
  }
  switch (record.state) {
    case IdState::kCompleted:
      return ClaimResult{.verdict = ClaimVerdict::kDuplicate};
    case IdState::kDead:
      return ClaimResult{.verdict = ClaimVerdict::kDead};
    case IdState::kDiscarded:
      return ClaimResult{.verdict = ClaimVerdict::kDiscarded};
    case IdState::kUncertain:
      return ClaimResult{.verdict = ClaimVerdict::kUncertain};
    case IdState::kRetrying:
      if (record.not_before <= now) return std::nullopt;
      return ClaimResult{.verdict = ClaimVerdict::kNotBefore, .wait = record.not_before - now};
    case IdState::kAbsent:
    case IdState::kClaimed:  // written by a transaction, and held by nobody
    case IdState::kDying:
      return std::nullopt;
  }
  return std::nullopt;
}

absl::StatusOr<ClaimResult> ClaimOne(Rows& table, const ClaimRequest& request, absl::Duration lease,
                                     const LeaseClock& clock) {
  absl::StatusOr<IdRows> found = table.Find(request.key);
  if (!found.ok()) return found.status();
  const bool is_ours = found->claim && found->claim->fence == request.fence;
  IdRows rows = is_ours ? *found : WithoutEndedClaim(*found, clock);
  if (!is_ours) {
    if (auto obstacle = FindObstacle(rows, request.fingerprint, clock.now)) {
      if (obstacle->verdict != ClaimVerdict::kDuplicate) return *std::move(obstacle);
      absl::StatusOr<std::string> result = table.FindResult(request.key);
      if (!result.ok()) return result.status();
      obstacle->result = *std::move(result);
      return *std::move(obstacle);
    }
    ClaimRow claim = rows.claim.value_or(ClaimRow{});
    claim.fence = request.fence;
    claim.fingerprint = request.fingerprint;
    if (rows.record.state == IdState::kDying && !claim.disposition) {
      claim.disposition = Disposition::kRejected;  // written by a transaction
    }
    rows.claim = claim;
  }
  rows.claim->lease_end = clock.now + lease;
  if (rows.record != found->record) {
    if (absl::Status put = table.PutRecord(request.key, rows.record); !put.ok()) return put;
  }
  if (absl::Status put = table.PutClaim(request.key, rows.claim); !put.ok()) return put;
  return AnswerHolder(rows);
}

}  // namespace

absl::Status FencedClaims::TryClaim(std::span<const ClaimRequest> requests, absl::Duration lease,
                                    std::span<ClaimResult> results) {
  assert(results.size() == requests.size());
  if (requests.empty()) return absl::OkStatus();
  return transactions_.Write("claim", Durability::kProcess, [&](Rows& table) -> absl::Status {
    if (absl::Status read = table.Expect(KeysOf(requests)); !read.ok()) return read;
    for (std::size_t i = 0; i < requests.size(); ++i) {
      absl::StatusOr<ClaimResult> result = ClaimOne(table, requests[i], lease, table.clock());
      if (!result.ok()) return result.status();
      results[i] = *std::move(result);
    }
    return absl::OkStatus();
  });
}

absl::Status FencedClaims::Begun(std::span<const Claim> claims, std::span<absl::Status> outcomes) {
  return ForEach(transactions_, "record as begun", Wanted::kWorking, claims, outcomes,
                 [](Rows& table, const Claim& claim, IdRows& rows) {
                   rows.claim->is_begun = true;
                   return table.PutClaim(claim.key, rows.claim);
                 });
}

absl::Status FencedClaims::Renew(std::span<const Claim> claims, absl::Duration lease,
                                 std::span<absl::Status> outcomes) {
  return ForEach(transactions_, "renew claim", Wanted::kAny, claims, outcomes,
                 [&](Rows& table, const Claim& claim, IdRows& rows) {
                   rows.claim->lease_end = table.clock().now + lease;
                   return table.PutClaim(claim.key, rows.claim);
                 });
}

absl::Status FencedClaims::Complete(std::span<const CompletedClaim> claims,
                                    std::span<absl::Status> outcomes) {
  for (const CompletedClaim& completed : claims) {
    if (completed.result.size() <= kClaimResultBytesMax) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        ToAbsl(transactions_.store_name()), ": complete ", Quoted(completed.claim.key.id),
        ": a result of ", completed.result.size(), " bytes, at most ", kClaimResultBytesMax,
        " are kept; keep it elsewhere and record where"));
  }
  return ForEach(transactions_, "complete", Wanted::kWorking, claims, outcomes,
                 [&](Rows& table, const CompletedClaim& completed, IdRows& rows) {
                   const IdKey& key = completed.claim.key;
                   absl::Status put = Settle(table, key, rows, IdState::kCompleted);
                   if (!put.ok() || completed.result.empty()) return put;
                   return table.PutResult(key, completed.result);
                 });
}

absl::Status FencedClaims::Fail(std::span<const FailedClaim> claims,
                                std::span<absl::Status> outcomes) {
  return ForEach(transactions_, "record as failed", Wanted::kWorking, claims, outcomes,
                 [&](Rows& table, const FailedClaim& failed, IdRows& rows) {
                   IdRecord& record = rows.record;
                   record.state = IdState::kRetrying;
                   if (failed.is_charged) ++record.attempt;
                   record.not_before = table.clock().now + failed.delay;
                   if (failed.is_charged && record.first_failed_at == absl::InfinitePast()) {
                     record.first_failed_at = failed.first_failed_at;
                   }
                   if (!record.fingerprint.is_set()) record.fingerprint = rows.claim->fingerprint;
                   // This invocation's end is known; that of a lost one before it is not.
                   rows.claim->is_begun = false;
                   rows.claim = AfterWriting(*rows.claim, record);
                   return PutRows(table, failed.claim.key, rows);
                 });
}

absl::Status FencedClaims::Dying(std::span<const DyingClaim> claims,
                                 std::span<absl::Status> outcomes) {
  return ForEach(transactions_, "record as dying", Wanted::kAny, claims, outcomes,
                 [&](Rows& table, const DyingClaim& dying, IdRows& rows) -> absl::Status {
                   // Said once more: what was recorded first stands.
                   if (rows.claim->disposition) return absl::OkStatus();
                   rows.claim->disposition = dying.disposition;
                   rows.record.state = IdState::kDying;
                   rows.record.attempt = dying.attempt;
                   rows.record.not_before = absl::InfinitePast();
                   if (!rows.record.fingerprint.is_set()) {
                     rows.record.fingerprint = rows.claim->fingerprint;
                   }
                   const IdKey& key = dying.claim.key;
                   absl::Status put = PutRows(table, key, rows);
                   if (!put.ok() || dying.letter == nullptr) return put;
                   return table.HoldLetter(key, *dying.letter);
                 });
}

absl::Status FencedClaims::Kill(std::span<const Claim> claims, std::span<absl::Status> outcomes) {
  return ForEach(
      transactions_, "record as dead", Wanted::kDying, claims, outcomes,
      [&](Rows& table, const Claim& claim, IdRows& rows) {
        const bool may_have_happened = rows.claim->disposition == Disposition::kUncertain;
        absl::Status put = Settle(table, claim.key, rows,
                                  may_have_happened ? IdState::kUncertain : IdState::kDead);
        if (!put.ok()) return put;
        return table.MarkLetterPublished(claim.key);
      });
}

absl::Status FencedClaims::Discard(std::span<const Claim> claims,
                                   std::span<absl::Status> outcomes) {
  return ForEach(transactions_, "discard", Wanted::kWorking, claims, outcomes,
                 [&](Rows& table, const Claim& claim, IdRows& rows) {
                   return Settle(table, claim.key, rows, IdState::kDiscarded);
                 });
}

absl::Status FencedClaims::Release(std::span<const Claim> claims,
                                   std::span<absl::Status> outcomes) {
  return ForEach(transactions_, "release", Wanted::kNotBegun, claims, outcomes,
                 [](Rows& table, const Claim& claim, IdRows& rows) {
                   rows.claim->fence.reset();
                   rows.claim->lease_end = absl::InfinitePast();
                   return table.PutClaim(claim.key, rows.claim);
                 });
}

}  // namespace once::stores
