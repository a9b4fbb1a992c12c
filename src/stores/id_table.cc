// A claim is what the log keeps with an id beyond its record.
#include "src/stores/id_table.h"

#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "src/stores/claim_codec.h"

namespace once::stores {
namespace {

absl::StatusOr<IdRows> RowsOf(const IdRecord& record, std::string_view claim) {
  IdRows rows{.record = record};
  if (claim.empty()) return rows;
  absl::StatusOr<ClaimRow> decoded = DecodeClaim(claim);
  if (!decoded.ok()) return decoded.status();
  rows.claim = *decoded;
  if (rows.claim->disposition && rows.record.state != IdState::kDying) {
    return absl::DataLossError(absl::StrCat("id log: a claim is dying whose id is ",
                                            ToAbsl(ToString(rows.record.state)),
                                            "; restore a backup"));
  }
  return rows;
}

}  // namespace

absl::StatusOr<IdRows> FindCommittedRows(const IdLog& ids, const IdKey& key) {
  // Operators ask for anything.
  if (!ValidateMessageId(key.id).ok()) return IdRows{};
  IdRecord record;
  std::string claim;
  const absl::Status found = ids.FindCommitted(
      {&key, 1}, {&record, 1}, [&](std::size_t, std::string_view extra) { claim = extra; });
  if (!found.ok()) return found;
  return RowsOf(record, claim);
}

absl::Status CheckIds(IdLog& ids, absl::FunctionRef<absl::Status()> visit) {
  return ids.ForEach([&](const IdKey&, const IdRecord& record, std::string_view claim) {
    absl::Status sound = RowsOf(record, claim).status();
    return sound.ok() ? visit() : sound;
  });
}

absl::StatusOr<IdRows> IdTable::Find(const IdKey& key) {
  IdRecord record;
  std::string claim;
  const absl::Status found = log_.Find({&key, 1}, changes_, {&record, 1},
                                       [&](std::size_t, std::string_view extra) { claim = extra; });
  if (!found.ok()) return found;
  return RowsOf(record, claim);
}

absl::Status IdTable::FindVisible(std::span<const IdKey> keys, const LeaseClock& clock,
                                  std::span<IdRecord> records) {
  absl::Status damage;
  const absl::Status found =
      log_.Find(keys, changes_, records, [&](std::size_t index, std::string_view claim) {
        const absl::StatusOr<IdRows> rows = RowsOf(records[index], claim);
        damage.Update(rows.status());
        if (rows.ok()) records[index] = VisibleRecord(*rows, clock);
      });
  return found.ok() ? damage : found;
}

absl::Status IdTable::PutRecord(const IdKey& key, const IdRecord& record) {
  // Nothing is looked up for the sake of claims while there are none.
  if (!has_claims()) return log_.Stage({.key = key, .record = record}, {}, changes_);
  const auto open = log_.FindOpen(key, changes_);
  const std::string claim(open ? open->extra : "");
  return log_.Stage({.key = key, .record = record}, claim, changes_);
}

absl::Status IdTable::PutClaim(const IdKey& key, const std::optional<ClaimRow>& claim) {
  const bool is_none = !claim || SaysNothing(*claim);
  const auto open = log_.FindOpen(key, changes_);
  if (is_none && !open) return absl::OkStatus();
  IdRecord record;
  if (open) {
    record = open->record;
  } else {
    const absl::StatusOr<IdRows> rows = Find(key);
    if (!rows.ok()) return rows.status();
    record = rows->record;
  }
  if (!is_none) has_put_claim_ = true;
  return log_.Stage({.key = key, .record = record}, is_none ? "" : EncodeClaim(*claim), changes_);
}

}  // namespace once::stores
