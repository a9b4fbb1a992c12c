// The rows that belong to ids: scopes, records, claims and results, read and written inside one
// transaction. What a claim means once its owner is gone is decided here, for transactions,
// claimants and operators alike.
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
#include "once/claims.h"
#include "once/transaction.h"

namespace once::sqlite {

// InfinitePast() is "never" and stored as null, so that the usual record stays small.
void BindTime(Statement& statement, int parameter, absl::Time time);

struct ClaimRow {
  std::optional<Fence> fence;  // nullopt: nobody holds the id
  absl::Time lease_end = absl::InfinitePast();
  bool is_begun = false;
  bool may_have_run = false;               // sticky: some invocation's end is not known
  std::optional<Disposition> disposition;  // dying
  Fingerprint fingerprint;                 // of the message that is claimed
};

struct IdRows {
  IdRecord record;
  std::optional<ClaimRow> claim;
};

// By which a claim is judged: it is over when another opening made it, or when its lease has ended.
struct LeaseClock {
  std::uint64_t incarnation = 0;
  absl::Time now;
};

bool IsHeld(const ClaimRow& claim, const LeaseClock& clock);

// The same id with every claim that is over turned into what it leaves: an attempt that counts and
// a sticky `may_have_run` if it was begun, nothing if not. Whoever is dying stays so.
IdRows WithoutEndedClaim(IdRows rows, const LeaseClock& clock);

// What of a claim outlives the writing of `record` by somebody else: the doubt whether the handler
// has run, until the message is settled or redriven. Never the fence: its owner has lost.
std::optional<ClaimRow> AfterWriting(const ClaimRow& claim, const IdRecord& record);

// What others see of `rows`: kClaimed while somebody works on it.
IdRecord VisibleRecord(const IdRows& rows, const LeaseClock& clock);

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
