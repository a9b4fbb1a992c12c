// The rules of acknowledging one by one.
#include "once/testing/queue_invariants.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "once/testing/invariants.h"

namespace once::testing {

void QueueInvariants::OnApply(const StoreChange& change) {
  for (const StoreChange::Id& id : change.ids) {
    known_[id.key].push_back(id.entry.record.fingerprint);
  }
}

void QueueInvariants::OnSynced(const StoreState& state) {
  for (const auto& [key, entry] : state.ids) {
    const IdState now = entry.record.state;
    // What is dying never runs again, and its callers are told that it is dead.
    const bool is_settled = now == IdState::kCompleted || now == IdState::kDiscarded ||
                            now == IdState::kDead || now == IdState::kUncertain ||
                            now == IdState::kDying;
    if (is_settled) settled_.insert(key);
  }
}

void QueueInvariants::OnAck(const Process& process, std::int64_t number) {
  acknowledged_.insert(number);
  const LogRecord& record = *sent_->Find(0, number);
  const std::string id = record.headers.front().value.value_or("");
  if (checker_.is_recording()) {
    checker_.Record(process.name(), absl::StrCat("acknowledges message ", number), 0, id);
  }
  const std::string key = EncodeIdKey({.scope = scope_, .id = id});
  if (settled_.contains(key)) return;
  // A conflict is its caller's to keep; it was told, whatever becomes of the id's first owner.
  const std::vector<Fingerprint>& known = known_[key];
  const Fingerprint print = Fingerprint::Of(record.value);
  const bool is_conflict = std::any_of(
      known.begin(), known.end(), [&](const Fingerprint& other) { return !other.Matches(print); });
  if (is_conflict) return;
  checker_.Fail(Check::kAcknowledged,
                absl::StrCat(process.name(), " acknowledges ", id, ", message ", number,
                             ", and no synced record says what became of it"),
                0, id);
}

bool QueueInvariants::IsDrained() const {
  for (std::int64_t number = 0; number < sent_->end(0); ++number) {
    if (sent_->Find(0, number) != nullptr && !acknowledged_.contains(number)) return false;
  }
  return true;
}

bool QueueInvariants::IsDead(const StoreState& state, const std::string& key) {
  const auto it = state.ids.find(key);
  if (it == state.ids.end()) return false;
  const IdState now = it->second.record.state;
  return now == IdState::kDead || now == IdState::kUncertain || now == IdState::kDying;
}

bool QueueInvariants::IsConflict(const StoreState& state, const std::string& key,
                                 const LogRecord& record) {
  const auto it = state.ids.find(key);
  return it != state.ids.end() &&
         !it->second.record.fingerprint.Matches(Fingerprint::Of(record.value));
}

}  // namespace once::testing
