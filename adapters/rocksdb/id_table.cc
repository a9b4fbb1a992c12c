// Ids as plain rows of once_ids; claims and results beside them, as few have any.
#include "adapters/rocksdb/id_table.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "adapters/rocksdb/row_codec.h"
#include "adapters/rocksdb/status.h"
#include "once/abseil.h"

namespace once::rocksdb {
namespace {

absl::StatusOr<stores::IdRows> RowsOf(const std::optional<std::string>& record,
                                      const std::optional<std::string>& claim) {
  stores::IdRows rows;
  if (record) {
    absl::StatusOr<IdRecord> decoded = DecodeRecord(*record);
    if (!decoded.ok()) return decoded.status();
    rows.record = *decoded;
  }
  if (!claim) return rows;
  absl::StatusOr<stores::ClaimRow> decoded = DecodeClaim(*claim);
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

absl::StatusOr<stores::IdRows> FindRows(const View& view, std::string_view key, bool has_claims) {
  const auto record = view.Get(kIdsFamily, key);
  if (!record.ok()) return record.status();
  if (!has_claims) return RowsOf(*record, std::nullopt);
  const auto claim = view.Get(kRowsFamily, Key(kClaimTable, key));
  if (!claim.ok()) return claim.status();
  return RowsOf(*record, *claim);
}

absl::StatusOr<std::optional<std::uint32_t>> FindScopeNumber(const View& view,
                                                             std::string_view name) {
  const auto found = view.Get(kRowsFamily, Key(kScopeTable, name));
  if (!found.ok()) return found.status();
  if (!*found) return std::nullopt;
  const auto number = DecodeNumber(**found);
  if (!number.ok()) return number.status();
  return static_cast<std::uint32_t>(*number);
}

absl::StatusOr<std::optional<std::uint32_t>> IdTable::FindScope(std::string_view name) {
  const ScopeNumbers& known = database_.known_scopes();
  if (const auto found = known.find(ToAbsl(name)); found != known.end()) return found->second;
  if (const auto added = new_scopes_.find(ToAbsl(name)); added != new_scopes_.end()) {
    return added->second;
  }
  const auto number = FindScopeNumber(batch_.view(), name);
  if (!number.ok()) return number.status();
  // Not known yet: the row may be this transaction's own, from before a savepoint.
  if (*number) new_scopes_.emplace(std::string(name), **number);
  return *number;
}

absl::StatusOr<std::uint32_t> IdTable::InternScope(std::string_view name) {
  const auto found = FindScope(name);
  if (!found.ok()) return found.status();
  if (*found) return **found;
  const std::string counter = Key(kMetaTable, "next_scope");
  const auto stored = batch_.view().Get(kRowsFamily, counter);
  if (!stored.ok()) return stored.status();
  const auto number = *stored ? DecodeNumber(**stored) : absl::StatusOr<std::uint64_t>(1);
  if (!number.ok()) return number.status();
  absl::Status put = batch_.Put(kRowsFamily, counter, EncodeNumber(*number + 1));
  if (!put.ok()) return put;
  put = batch_.Put(kRowsFamily, Key(kScopeTable, name), EncodeNumber(*number));
  if (!put.ok()) return put;
  new_scopes_.emplace(std::string(name), static_cast<std::uint32_t>(*number));
  return static_cast<std::uint32_t>(*number);
}

absl::StatusOr<stores::IdRows> IdTable::Find(const IdKey& key) {
  const auto scope = FindScope(key.scope);
  if (!scope.ok()) return scope.status();
  if (!*scope) return stores::IdRows{};
  return FindRows(batch_.view(), IdKeyBytes(**scope, key.id), database_.has_claims());
}

absl::StatusOr<std::vector<stores::IdRows>> IdTable::FindAll(std::span<const IdKey> keys) {
  std::vector<std::string> wanted;
  wanted.reserve(keys.size());
  for (const IdKey& key : keys) {
    const auto scope = FindScope(key.scope);
    if (!scope.ok()) return scope.status();
    // Number 0 is nobody's.
    wanted.push_back(IdKeyBytes(scope->value_or(0), key.id));
  }
  const View view = batch_.view();
  const auto records = view.GetAll(kIdsFamily, wanted);
  if (!records.ok()) return records.status();
  std::vector<std::optional<std::string>> claims(keys.size());
  if (database_.has_claims()) {
    for (std::string& key : wanted) key = Key(kClaimTable, key);
    auto found = view.GetAll(kRowsFamily, wanted);
    if (!found.ok()) return found.status();
    claims = *std::move(found);
  }
  std::vector<stores::IdRows> all;
  all.reserve(keys.size());
  for (std::size_t i = 0; i < keys.size(); ++i) {
    absl::StatusOr<stores::IdRows> rows = RowsOf((*records)[i], claims[i]);
    if (!rows.ok()) return rows.status();
    all.push_back(*std::move(rows));
  }
  return all;
}

absl::Status IdTable::PutRecord(const IdKey& key, const IdRecord& record) {
  const auto scope = InternScope(key.scope);
  if (!scope.ok()) return scope.status();
  const std::string where = IdKeyBytes(*scope, key.id);
  if (record.state == IdState::kAbsent) return batch_.Delete(kIdsFamily, where);
  return batch_.Put(kIdsFamily, where, EncodeRecord(record));
}

absl::Status IdTable::PutClaim(const IdKey& key, const std::optional<stores::ClaimRow>& claim) {
  const auto scope = InternScope(key.scope);
  if (!scope.ok()) return scope.status();
  const std::string where = Key(kClaimTable, IdKeyBytes(*scope, key.id));
  if (!claim || stores::SaysNothing(*claim)) return batch_.Delete(kRowsFamily, where);
  database_.NoteClaims();
  return batch_.Put(kRowsFamily, where, EncodeClaim(*claim));
}

absl::Status IdTable::PutResult(const IdKey& key, std::string_view result) {
  const auto scope = InternScope(key.scope);
  if (!scope.ok()) return scope.status();
  const std::string where = Key(kResultTable, IdKeyBytes(*scope, key.id));
  if (!result.empty()) return batch_.Put(kRowsFamily, where, result);
  // Few ids have any, and a deletion is a row too.
  const auto found = batch_.view().Get(kRowsFamily, where);
  if (!found.ok()) return found.status();
  return *found ? batch_.Delete(kRowsFamily, where) : absl::OkStatus();
}

absl::StatusOr<std::string> IdTable::FindResult(const IdKey& key) {
  const auto scope = FindScope(key.scope);
  if (!scope.ok()) return scope.status();
  if (!*scope) return std::string();
  const auto found = batch_.view().Get(kRowsFamily, Key(kResultTable, IdKeyBytes(**scope, key.id)));
  if (!found.ok()) return found.status();
  return found->value_or("");
}

}  // namespace once::rocksdb
