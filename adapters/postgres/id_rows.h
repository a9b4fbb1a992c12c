// The rows of ids within one transaction. What is asked for is read once, in bulk where it is known
// beforehand; what is written stays here until it is flushed, with everything else, in one go.
// Thread-safety: as the transaction.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/hash/hash.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adapters/postgres/database.h"
#include "once/abseil.h"
#include "once/transaction.h"
#include "src/stores/claim_rules.h"

namespace once::postgres {

// How a scope is named in rows: a hash of it, which nobody needs to look up.
std::int64_t ScopeNumber(std::string_view scope);

// What rows are locked by looking at them.
enum class Locking : std::uint8_t {
  // Those that are there and may still change: a completed id never does. For transactions that
  // hold position rows: what they settle has the age of these.
  kUnsettled,
  kAll,   // every one that is there
  kHold,  // few ids themselves, whether they are there or not; then as kUnsettled
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

  // Whether a letter that is kept may be of one of the ids that were read. No letter comes to be of
  // an id without a change of its row.
  bool may_have_letters() const { return has_letters_.value_or(true); }

  // The server's clock when the last rows were locked; nothing but a claim is judged by it.
  const stores::LeaseClock& clock() const { return clock_; }

 private:
  using Key = std::pair<std::int64_t, std::string>;
  using KeyView = std::pair<std::int64_t, std::string_view>;
  // Of either, so that no lookup copies an id.
  struct KeyHash {
    using is_transparent = void;
    std::size_t operator()(const KeyView& key) const {
      return absl::Hash<std::pair<std::int64_t, absl::string_view>>()(
          {key.first, ToAbsl(key.second)});
    }
  };
  struct KeyEqual {
    using is_transparent = void;
    bool operator()(const KeyView& a, const KeyView& b) const { return a == b; }
  };
  struct Entry {
    stores::IdRows rows;
    std::string result;
    bool is_stored = false;  // there is a row of it
    bool is_changed = false;
  };
  using Entries = absl::flat_hash_map<Key, Entry, KeyHash, KeyEqual>;
  // Rows to look for, in key order, each once.
  using Wanted = std::vector<Key>;

  absl::StatusOr<Entry*> FindEntry(const IdKey& key);
  absl::Status CheckScopes(std::span<const IdKey> keys);
  absl::Status Read(const Wanted& wanted, bool is_locking);
  Params KeyParams(const Wanted& wanted) const;
  // Whether nobody knows how old the ids are that are written here.
  void AddAge(Params& params) const;
  // Those that were changed since the last Flush(), in key order.
  std::vector<Entries::value_type*> TakeChanged();
  KeyView ViewOf(const IdKey& key);
  // REQUIRES: it is known.
  Entry& Change(const IdKey& key);

  Database& database_;
  Session& session_;
  const Locking locking_;
  Entries entries_;
  // The last scope that was asked for, and its number: nearly always the next one too.
  std::string last_scope_;
  std::int64_t last_scope_number_ = ScopeNumber("");
  std::optional<bool> has_letters_;  // the store keeps some; not known before something was read
  std::set<std::string, std::less<>> new_scopes_;  // to be flushed …
  std::set<std::string, std::less<>> put_scopes_;  // … and flushed, but not committed
  std::set<Key> changed_since_mark_;
  bool is_marked_ = false;
  bool has_found_settled_ = false;
  stores::LeaseClock clock_;
};

}  // namespace once::postgres
