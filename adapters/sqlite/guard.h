// A Guard keeps a handler from ending the transaction it was given and from touching the store's
// tables, and notices when SQLite ends the transaction by itself.
//
// Three locks, because no single one is enough. The authorizer refuses statements when they are
// prepared, not when they run. The commit hook turns every COMMIT that the store did not ask for
// into a ROLLBACK: so neither a statement in autocommit mode, after SQLite has rolled back on a
// full disk, nor one that was prepared elsewhere, ever becomes durable. The rollback hook counts,
// so that one transaction is never taken for the next. Thread-safety: as the connection it guards.
#pragma once

#include <sqlite3.h>

#include <cstdint>

#include "absl/status/status.h"

namespace once::sqlite {

class Guard {
 public:
  // A guard of `connection`, which owns it: SQLite frees the two together, also when a statement
  // that a handler has kept makes the connection outlive the store. Null without memory.
  static Guard* Attach(sqlite3* connection);
  // From now on it guards.
  void Install();

  // Everything the store does itself happens inside one of these.
  class StoreScope {
   public:
    explicit StoreScope(Guard& guard) : guard_(guard), before_(guard.is_store_at_work_) {
      guard_.is_store_at_work_ = true;
    }
    ~StoreScope() { guard_.is_store_at_work_ = before_; }
    StoreScope(const StoreScope&) = delete;
    StoreScope& operator=(const StoreScope&) = delete;

   private:
    Guard& guard_;
    const bool before_;
  };

  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;

  // The one place where a commit is wanted.
  class CommitScope {
   public:
    explicit CommitScope(Guard& guard) : guard_(guard) { guard_.is_commit_wanted_ = true; }
    ~CommitScope() { guard_.is_commit_wanted_ = false; }
    CommitScope(const CommitScope&) = delete;
    CommitScope& operator=(const CommitScope&) = delete;

   private:
    Guard& guard_;
  };

  // Remembers the transaction that has just begun …
  void NoteBegun();
  // … and says whether it is still the one that is open: kFailedPrecondition when a handler ended
  // it, kAborted when SQLite did.
  absl::Status CheckSame();

 private:
  static int Authorize(void* guard, int action, const char* first, const char* second,
                       const char* database, const char* trigger);
  static int OnCommit(void* guard);
  static void OnRollback(void* guard);

  explicit Guard(sqlite3* connection) : connection_(connection) {}

  sqlite3* const connection_;
  bool is_store_at_work_ = false;
  bool is_commit_wanted_ = false;
  std::uint64_t rollbacks_ = 0;
  std::uint64_t refused_commits_ = 0;
  std::uint64_t rollbacks_at_begin_ = 0;
  std::uint64_t refused_commits_at_begin_ = 0;
};

}  // namespace once::sqlite
