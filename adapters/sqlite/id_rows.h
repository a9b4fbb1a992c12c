// The rows that belong to ids: scopes, records, claims and results, read and written inside one
// transaction.
// Thread-safety: as the connection of the transaction.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "adapters/sqlite/database.h"
#include "once/transaction.h"
#include "src/stores/claim_rules.h"

namespace once::sqlite {

using stores::ClaimRow;
using stores::IdRows;
using stores::LeaseClock;

// InfinitePast() is "never" and stored as null, so that the usual record stays small.
void BindTime(Statement& statement, int parameter, absl::Time time);

// Columns of once_ids and once_claims, from `column` on: 6 and 8 of them.
inline constexpr int kRecordColumns = 6;
absl::StatusOr<IdRecord> RecordAt(const Statement& row, int column);
absl::StatusOr<std::optional<ClaimRow>> ClaimAt(const Statement& row, int column);

// Access to the rows of ids within one transaction.
class IdTable {
 public:
  // REQUIRES: `database` outlives it; at each call a transaction is open and the store is at work.
  explicit IdTable(Database& database) : database_(database) {}

  absl::StatusOr<IdRows> Find(const IdKey& key);
  // Replaces once_ids' row; kAbsent removes it.
  absl::Status PutRecord(const IdKey& key, const IdRecord& record);
  // nullopt removes the row. A claim that says nothing (not held, never lost, not dying) has none.
  absl::Status PutClaim(const IdKey& key, const std::optional<ClaimRow>& claim);
  absl::Status PutResult(const IdKey& key, std::string_view result);  // empty: none
  absl::StatusOr<std::string> FindResult(const IdKey& key);

  // nullopt: the store has no id in that scope yet.
  absl::StatusOr<std::optional<std::int64_t>> FindScope(std::string_view name);
  absl::StatusOr<std::int64_t> InternScope(std::string_view name);

  // The transaction went back to a savepoint: scopes that were added since are no longer there.
  void ForgetNewScopes();
  // The database's once the transaction is committed.
  ScopeNumbers TakeNewScopes() { return std::move(new_scopes_); }

 private:
  struct ScopeNumber {
    std::string name;
    std::optional<std::int64_t> number;
  };

  // Binds the key. False: the scope is not known, so there can be no row.
  absl::StatusOr<bool> BindKey(Statement& statement, const IdKey& key);

  // Binds the key and steps to its row, which begins with scope and id; false: there is none.
  absl::StatusOr<bool> StepTo(Statement& find, const IdKey& key, std::string_view table);

  Database& database_;
  ScopeNumbers new_scopes_;
  std::optional<ScopeNumber> last_scope_;
};

}  // namespace once::sqlite
