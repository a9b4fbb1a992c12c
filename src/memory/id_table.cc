// The claim protocol over a hash map: verdicts, compare-and-set on the fence, and what remains of a
// claim whose owner is gone.
#include "src/memory/id_table.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"

namespace once::memory {

bool IdTable::IsOver(const Entry& entry, absl::Time now) {
  return entry.hold && entry.hold->lease_end <= now;
}

void IdTable::EndHold(Entry& entry) {
  assert(entry.hold);
  if (entry.record.state == IdState::kClaimed) {
    if (entry.hold->is_begun) {
      entry.record.state = IdState::kRetrying;
      entry.record.not_before = absl::InfinitePast();
      ++entry.record.attempt;
      entry.may_have_run = true;
    } else {
      entry.record = entry.hold->former;
    }
  }
  entry.hold.reset();
}

IdRecord IdTable::RecordAt(const Entry& entry, absl::Time now) {
  if (!IsOver(entry, now)) return entry.record;
  Entry ended = entry;
  EndHold(ended);
  return ended.record.state == IdState::kAbsent ? IdRecord{} : ended.record;
}

IdRecord IdTable::Find(const IdKey& key, std::uint64_t hash, absl::Time now) const {
  if (const std::optional<IdRecord> completed = completed_.Find(key, hash)) return *completed;
  if (entries_.empty()) return {};
  const auto found = entries_.find(EncodeIdKey(key));
  return found == entries_.end() ? IdRecord{} : RecordAt(found->second, now);
}

void IdTable::Find(std::span<const IdKey> keys, absl::Time now, std::span<IdRecord> records) const {
  assert(records.size() == keys.size());
  std::vector<std::uint64_t> hashes;
  hashes.reserve(keys.size());
  for (const IdKey& key : keys) {
    hashes.push_back(HashOf(key));
    completed_.Prefetch(hashes.back());
  }
  for (std::size_t i = 0; i < keys.size(); ++i) records[i] = Find(keys[i], hashes[i], now);
}

void IdTable::Put(const StagedIdWrites& writes) {
  constexpr std::size_t kAhead = 8;
  for (std::size_t i = 0; i < writes.size(); ++i) {
    if (i + kAhead < writes.size()) completed_.Prefetch(writes.hash(i + kAhead));
    const IdWrite write = writes.at(i);
    Put(write.key, writes.hash(i), write.record);
  }
}

void IdTable::Put(const IdKey& key, std::uint64_t hash, const IdRecord& record) {
  if (completed_.CanKeep(key, record)) {
    if (!entries_.empty()) entries_.erase(EncodeIdKey(key));
    completed_.Put(key, hash, record);
    return;
  }
  completed_.Erase(key, hash);
  if (record.state == IdState::kAbsent) {
    entries_.erase(EncodeIdKey(key));
    return;
  }
  Entry& entry = entries_[EncodeIdKey(key)];
  // A transaction that failed knows no more than before what a lost invocation has done.
  const bool keeps_doubt = record.state == IdState::kRetrying && record.attempt > 0;
  const bool is_in_doubt = entry.may_have_run || (entry.hold && entry.hold->is_begun);
  entry = {.record = record, .may_have_run = keeps_doubt && is_in_doubt};
}

std::vector<StoreOperations::FoundId> IdTable::FindInEveryScope(const std::string& id,
                                                                absl::Time now) const {
  std::vector<StoreOperations::FoundId> found;
  for (const auto& [encoded_key, entry] : entries_) {
    const auto key = DecodeIdKey(encoded_key);
    assert(key);
    if (key->id != id) continue;
    IdRecord record = RecordAt(entry, now);
    if (record.state == IdState::kAbsent) continue;
    found.push_back({.scope = std::string(key->scope), .record = record});
  }
  completed_.ForEach([&](const IdKey& key, const IdRecord& record) {
    if (key.id == id) found.push_back({.scope = std::string(key.scope), .record = record});
  });
  std::sort(found.begin(), found.end(),
            [](const auto& a, const auto& b) { return a.scope < b.scope; });
  return found;
}

ClaimResult IdTable::TryClaim(const ClaimRequest& request, absl::Time now, absl::Duration lease) {
  if (const auto completed = completed_.Find(request.key, HashOf(request.key))) {
    const bool is_same = completed->fingerprint.Matches(request.fingerprint);
    return {.verdict = is_same ? ClaimVerdict::kDuplicate : ClaimVerdict::kConflict};
  }
  Entry& entry = entries_[EncodeIdKey(request.key)];
  if (entry.hold && entry.hold->fence == request.fence) {
    entry.hold->lease_end = now + lease;
    return AnswerHolder(entry);
  }
  // Who takes it ends a claim that is over, not who only asks: until then it is its owner's.
  std::optional<Entry> ended;
  if (IsOver(entry, now)) EndHold(ended.emplace(entry));
  if (auto obstacle = FindObstacle(ended ? *ended : entry, request, now)) return *obstacle;
  if (ended) entry = *std::move(ended);
  Take(request, now + lease, entry);
  return AnswerHolder(entry);
}

std::optional<ClaimResult> IdTable::FindObstacle(const Entry& entry, const ClaimRequest& request,
                                                 absl::Time now) {
  using Found = std::optional<ClaimResult>;
  const IdRecord& record = entry.record;
  if (record.state != IdState::kAbsent && !record.fingerprint.Matches(request.fingerprint)) {
    return Found({.verdict = ClaimVerdict::kConflict});
  }
  if (entry.hold) {
    return Found({.verdict = ClaimVerdict::kInProgress, .wait = entry.hold->lease_end - now});
  }
  switch (record.state) {
    case IdState::kCompleted:
      return Found({.verdict = ClaimVerdict::kDuplicate, .result = entry.result});
    case IdState::kDead:
      return Found({.verdict = ClaimVerdict::kDead});
    case IdState::kDiscarded:
      return Found({.verdict = ClaimVerdict::kDiscarded});
    case IdState::kUncertain:
      return Found({.verdict = ClaimVerdict::kUncertain});
    case IdState::kRetrying:
      if (record.not_before <= now) return std::nullopt;
      return Found({.verdict = ClaimVerdict::kNotBefore, .wait = record.not_before - now});
    case IdState::kAbsent:
    case IdState::kDying:
    case IdState::kClaimed:  // by a transaction, which holds nothing: as if it were retrying
      return std::nullopt;
  }
  return std::nullopt;
}

void IdTable::Take(const ClaimRequest& request, absl::Time lease_end, Entry& entry) {
  entry.hold = {.fence = request.fence, .lease_end = lease_end, .former = entry.record};
  if (entry.record.state != IdState::kDying) entry.record.state = IdState::kClaimed;
  if (!entry.record.fingerprint.is_set()) entry.record.fingerprint = request.fingerprint;
}

ClaimResult IdTable::AnswerHolder(const Entry& entry) {
  ClaimResult result{.first_failed_at = entry.record.first_failed_at};
  if (entry.record.state == IdState::kDying) {
    result.verdict = ClaimVerdict::kPublish;
    result.attempt = entry.record.attempt;
    result.disposition = entry.disposition;
  } else {
    result.verdict = entry.may_have_run ? ClaimVerdict::kTakeover : ClaimVerdict::kFresh;
    result.attempt = entry.record.attempt + 1;
  }
  return result;
}

IdTable::Entry* IdTable::FindHeld(const Claim& claim, std::string_view operation,
                                  absl::Status& refusal, std::optional<IdState> wanted) {
  const auto found = entries_.find(EncodeIdKey(claim.key));
  if (found == entries_.end() || !found->second.hold || found->second.hold->fence != claim.fence) {
    refusal = absl::AbortedError(
        absl::StrCat("memory: ", ToAbsl(operation),
                     ": the claim is lost: it was settled, or taken over after its lease"));
    return nullptr;
  }
  if (wanted && found->second.record.state != *wanted) {
    refusal = absl::FailedPreconditionError(absl::StrCat(
        "memory: ", ToAbsl(operation), ": the id is ", ToAbsl(ToString(found->second.record.state)),
        ", not ", ToAbsl(ToString(*wanted))));
    return nullptr;
  }
  return &found->second;
}

void IdTable::Settle(Entry& entry, IdState state) {
  entry.record.state = state;
  entry.record.not_before = absl::InfinitePast();
  entry.may_have_run = false;
  entry.hold.reset();
}

absl::Status IdTable::Begin(const Claim& claim) {
  absl::Status refusal;
  if (Entry* entry = FindHeld(claim, "begun", refusal)) entry->hold->is_begun = true;
  return refusal;
}

absl::Status IdTable::Renew(const Claim& claim, absl::Time lease_end) {
  absl::Status refusal;
  if (Entry* entry = FindHeld(claim, "renew", refusal, std::nullopt)) {
    entry->hold->lease_end = lease_end;
  }
  return refusal;
}

absl::Status IdTable::Complete(const CompletedClaim& completed) {
  absl::Status refusal;
  if (Entry* entry = FindHeld(completed.claim, "complete", refusal)) {
    Settle(*entry, IdState::kCompleted);
    entry->result = completed.result;
  }
  return refusal;
}

absl::Status IdTable::Fail(const FailedClaim& failed, absl::Time now) {
  absl::Status refusal;
  if (Entry* entry = FindHeld(failed.claim, "fail", refusal)) {
    IdRecord& record = entry->record;
    record.state = IdState::kRetrying;
    if (failed.is_charged) ++record.attempt;
    record.not_before = now + failed.delay;
    if (failed.is_charged && record.first_failed_at == absl::InfinitePast()) {
      record.first_failed_at = failed.first_failed_at;
    }
    entry->hold.reset();
  }
  return refusal;
}

absl::Status IdTable::Condemn(const DyingClaim& dying) {
  absl::Status refusal;
  Entry* entry = FindHeld(dying.claim, "dying", refusal, std::nullopt);
  // Said once more: what was recorded first stands.
  if (!entry || entry->record.state == IdState::kDying) return refusal;
  entry->record.state = IdState::kDying;
  entry->record.attempt = dying.attempt;
  entry->record.not_before = absl::InfinitePast();
  entry->disposition = dying.disposition;
  return refusal;
}

absl::Status IdTable::Kill(const Claim& claim) {
  absl::Status refusal;
  if (Entry* entry = FindHeld(claim, "kill", refusal, IdState::kDying)) {
    const bool may_have_happened = entry->disposition == Disposition::kUncertain;
    Settle(*entry, may_have_happened ? IdState::kUncertain : IdState::kDead);
  }
  return refusal;
}

absl::Status IdTable::Discard(const Claim& claim) {
  absl::Status refusal;
  if (Entry* entry = FindHeld(claim, "discard", refusal)) Settle(*entry, IdState::kDiscarded);
  return refusal;
}

absl::Status IdTable::Release(const Claim& claim) {
  absl::Status refusal;
  Entry* entry = FindHeld(claim, "release", refusal, std::nullopt);
  if (!entry) return refusal;
  if (entry->record.state == IdState::kClaimed && entry->hold->is_begun) {
    return absl::FailedPreconditionError(
        "memory: release: the handler has begun; Complete() or Fail() the claim instead");
  }
  EndHold(*entry);
  if (entry->record.state == IdState::kAbsent) entries_.erase(EncodeIdKey(claim.key));
  return refusal;
}

}  // namespace once::memory
