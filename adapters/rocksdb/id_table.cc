// A claim is what the log keeps with an id beyond its record.
#include "adapters/rocksdb/id_table.h"

#include "absl/strings/str_cat.h"
#include "adapters/rocksdb/row_codec.h"
#include "once/abseil.h"

namespace once::rocksdb {
namespace {

absl::StatusOr<stores::IdRows> RowsOf(const IdRecord& record, std::string_view claim) {
  stores::IdRows rows{.record = record};
  if (claim.empty()) return rows;
  absl::StatusOr<stores::ClaimRow> decoded = DecodeClaim(claim);
  if (!decoded.ok()) return decoded.status();
  rows.claim = *decoded;
  if (rows.claim->disposition && rows.record.state != IdState::kDying) {
    return absl::DataLossError(absl::StrCat("rocksdb: a claim is dying whose id is ",
                                            ToAbsl(ToString(rows.record.state)),
                                            "; restore a backup"));
  }
  return rows;
}

}  // namespace

absl::StatusOr<stores::IdRows> FindCommittedRows(Database& database, const IdKey& key) {
  return database.ReadIds([&](const stores::IdLog& ids) -> absl::StatusOr<stores::IdRows> {
    IdRecord record;
    std::string claim;
    const absl::Status found = ids.FindCommitted(
        {&key, 1}, {&record, 1}, [&](std::size_t, std::string_view extra) { claim = extra; });
    if (!found.ok()) return found;
    return RowsOf(record, claim);
  });
}

absl::StatusOr<stores::IdRows> IdTable::Find(const IdKey& key) {
  IdRecord record;
  std::string claim;
  const absl::Status found =
      database_.ids().Find({&key, 1}, changes_, {&record, 1},
                           [&](std::size_t, std::string_view extra) { claim = extra; });
  if (!found.ok()) return found;
  return RowsOf(record, claim);
}

absl::Status IdTable::FindVisible(std::span<const IdKey> keys, std::span<IdRecord> records) {
  const stores::LeaseClock clock = database_.clock();
  absl::Status damage;
  const absl::Status found =
      database_.ids().Find(keys, changes_, records, [&](std::size_t index, std::string_view claim) {
        const absl::StatusOr<stores::IdRows> rows = RowsOf(records[index], claim);
        damage.Update(rows.status());
        if (rows.ok()) records[index] = stores::VisibleRecord(*rows, clock);
      });
  return found.ok() ? damage : found;
}

absl::Status IdTable::PutRecord(const IdKey& key, const IdRecord& record) {
  const auto open = database_.ids().FindOpen(key, changes_);
  const std::string claim(open ? open->extra : "");
  return database_.ids().Stage({.key = key, .record = record}, claim, changes_);
}

absl::Status IdTable::PutClaim(const IdKey& key, const std::optional<stores::ClaimRow>& claim) {
  const bool is_none = !claim || stores::SaysNothing(*claim);
  const auto open = database_.ids().FindOpen(key, changes_);
  if (is_none && !open) return absl::OkStatus();
  IdRecord record;
  if (open) {
    record = open->record;
  } else {
    const absl::StatusOr<stores::IdRows> rows = Find(key);
    if (!rows.ok()) return rows.status();
    record = rows->record;
  }
  if (!is_none) has_put_claim_ = true;
  return database_.ids().Stage({.key = key, .record = record}, is_none ? "" : EncodeClaim(*claim),
                               changes_);
}

absl::Status IdTable::PutResult(const IdKey& key, std::string_view result) {
  const std::string where = Key(kResultTable, EncodeIdKey(key));
  if (!result.empty()) {
    database_.NoteResults();
    return batch_.Put(kRowsFamily, where, result);
  }
  if (!database_.has_results()) return absl::OkStatus();
  // Few ids have any, and a deletion is a row too.
  const auto found = batch_.view().Get(kRowsFamily, where);
  if (!found.ok()) return found.status();
  return *found ? batch_.Delete(kRowsFamily, where) : absl::OkStatus();
}

absl::StatusOr<std::string> IdTable::FindResult(const IdKey& key) {
  if (!database_.has_results()) return std::string();
  const auto found = batch_.view().Get(kRowsFamily, Key(kResultTable, EncodeIdKey(key)));
  if (!found.ok()) return found.status();
  return found->value_or("");
}

}  // namespace once::rocksdb
