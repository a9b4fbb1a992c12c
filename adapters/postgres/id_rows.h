// The rows of ids within one transaction. What is asked for is read once, in bulk where it is known
// beforehand; what is written stays here until it is flushed, with everything else, in one go.
// Thread-safety: as the transaction.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adapters/postgres/database.h"
#include "once/transaction.h"
#include "src/stores/claim_rules.h"

namespace once::postgres {

// How a scope is named in rows: a hash of it, which nobody needs to look up.
std::int64_t ScopeNumber(std::string_view scope);

// What rows are locked by looking at them.
enum class Locking : std::uint8_t {
  kUnsettled,  // those that are there and may still change: a completed id never does
  kAll,        // every one that is there
  kHold,       // few ids themselves, whether they are there or not; then as kUnsettled
};

// Rows of ids, from `column` on: kIdCells of statements.cc.
absl::StatusOr<stores::IdRows> IdRowsAt(const Result& result, int row, int column);

class IdTable {
 public:
  // REQUIRES: both outlive it; `session` is in a transaction, or has its BEGIN queued.
  IdTable(Database& database, Session& session, Locking locking)
      : database_(database), session_(session), locking_(locking) {}

  // Reads what is not known of them yet.
  absl::Status Load(std::span<const IdKey> keys);
  absl::StatusOr<stores::IdRows> Find(const IdKey& key);
  absl::Status PutRecord(const IdKey& key, const IdRecord& record);
  absl::Status PutClaim(const IdKey& key, const std::optional<stores::ClaimRow>& claim);
  absl::Status PutResult(const IdKey& key, std::string_view result);
  absl::StatusOr<std::string> FindResult(const IdKey& key);

  // The number of the scope, whose row is put with the next Flush().
  std::int64_t Intern(std::string_view scope);

  // Queues what was written. True: there was something.
  bool Flush();
  // From now on Undo() takes back what is written. REQUIRES: everything is flushed.
  void Mark();
  void Undo();
  // Something was found that may be acknowledged, and that its writer may not have synced.
  bool has_found_settled() const { return has_found_settled_; }
  // To be called once the transaction is committed, and on disk.
  void NoteCommitted();

  // The server's clock when the last rows were locked; nothing but a claim is judged by it.
  const stores::LeaseClock& clock() const { return clock_; }

 private:
  using Key = std::pair<std::int64_t, std::string>;
  struct Entry {
    stores::IdRows rows;
    std::string result;
    bool is_stored = false;  // there is a row of it
    bool is_changed = false;
  };
  // Rows to look for, in key order, each once.
  using Wanted = std::set<Key>;

  absl::StatusOr<Entry*> FindEntry(const IdKey& key);
  absl::Status CheckScopes(std::span<const IdKey> keys);
  absl::Status Read(const Wanted& wanted, bool is_locking);
  Params KeyParams(const Wanted& wanted) const;
  Entry& Change(const Key& key);

  Database& database_;
  Session& session_;
  const Locking locking_;
  std::map<Key, Entry> entries_;
  std::set<std::string, std::less<>> new_scopes_;  // to be flushed …
  std::set<std::string, std::less<>> put_scopes_;  // … and flushed, but not committed
  std::set<Key> changed_since_mark_;
  bool is_marked_ = false;
  bool has_found_settled_ = false;
  stores::LeaseClock clock_;
};

}  // namespace once::postgres
