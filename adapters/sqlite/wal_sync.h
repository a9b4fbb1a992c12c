// WalSync decides which commits of a connection reach the disk before they return. SQLite syncs the
// -wal with every commit or with none, and refuses to change its mind inside a transaction; whether
// ours must survive the machine is known only when it ends. So the connection syncs every commit
// (synchronous=FULL), and WalSync, which stands between SQLite and the -wal, leaves out the one
// sync of a commit that need not be durable yet. A weaker connection skips the syncs of commits by
// itself, and none may be left out: the next one is a checkpoint's.
//
// Nothing else is left out: the sync of a new header and those of a checkpoint keep the file from
// being corrupted by a power failure.
// Thread-safety: as the connection it belongs to; has_unsynced(), is_doubtful() and SyncBeside()
// from any thread.
#pragma once

#include <sqlite3.h>

#include <atomic>
#include <mutex>

#include "absl/status/statusor.h"

namespace once::sqlite {

class WalSync {
 public:
  // Steps in front of the -wal of `connection`, which owns the result: SQLite frees it after the
  // -wal is closed, also when a statement that a handler has kept makes the connection outlive the
  // store. `syncs_commits`: it is at synchronous=FULL.
  // REQUIRES: the connection has read in WAL mode.
  static absl::StatusOr<WalSync*> Attach(sqlite3* connection, bool syncs_commits);
  WalSync(const WalSync&) = delete;
  WalSync& operator=(const WalSync&) = delete;

  // The commit that is made inside of it is not synced. REQUIRES: the connection syncs commits; the
  // sync that is left out would otherwise be the one of the checkpoint after it.
  class UnsyncedScope {
   public:
    explicit UnsyncedScope(WalSync& sync) : sync_(sync) {
      sync_.may_skip_ = true;
      sync_.has_frames_ = false;
    }
    ~UnsyncedScope() { sync_.may_skip_ = false; }
    UnsyncedScope(const UnsyncedScope&) = delete;
    UnsyncedScope& operator=(const UnsyncedScope&) = delete;

   private:
    WalSync& sync_;
  };

  // True when a commit lies in the -wal that was not synced since, where commits are synced.
  bool has_unsynced() const { return has_unsynced_; }
  // True after a sync failed over unsynced commits, and when a process that died has left some: who
  // knows what its syncs said. The system may have dropped their pages and call the next sync a
  // success, so they are durable only once they are written anew. Nor may they be moved to the
  // database before: a power failure in the midst of that would leave a part of them, and no -wal
  // to recover from.
  bool is_doubtful() const { return is_doubtful_; }
  // Writes all commits of the -wal over themselves and syncs it. A result code of SQLite;
  // SQLITE_CORRUPT: the -wal reads otherwise than it was written, since pages were dropped that no
  // disk has. What was synced is whole, and what the process sees now is not.
  // REQUIRES: the connection has the write lock and has written nothing in this transaction.
  int WriteAnew();

  // Syncs the -wal. A result code of SQLite. REQUIRES: no transaction is open.
  int Sync();

  // The same beside a transaction, which waits with what it writes to the -wal meanwhile.
  // SQLITE_IOERR_FSYNC while is_doubtful().
  int SyncBeside();

  // What that code of Sync() or WriteAnew() means, read at once. REQUIRES: it is an error.
  absl::Status ErrorOf(int code, std::string_view operation) const;

 private:
  // The methods of the -wal, ours in front. SQLite passes the file, which knows this table.
  struct Methods : sqlite3_io_methods {
    WalSync* owner;
  };

  WalSync(sqlite3_file* database, sqlite3_file* file, bool syncs_commits);
  int CopyOntoItself();
  // REQUIRES: mutex_ is held.
  int SyncNow(int flags);
  static WalSync& Of(sqlite3_file* file);
  static int OnWrite(sqlite3_file* file, const void* content, int size, sqlite3_int64 offset);
  static int OnSync(sqlite3_file* file, int flags);

  sqlite3_file* const database_;
  sqlite3_file* const file_;  // the -wal
  const sqlite3_io_methods* const real_;
  const bool syncs_commits_;
  Methods methods_;
  bool may_skip_ = false;    // inside UnsyncedScope, and nothing skipped yet
  bool has_frames_ = false;  // a frame was written inside UnsyncedScope
  std::atomic<bool> has_unsynced_ = false;
  // Frames of a connection that does not sync commits: nobody waits for them, but a sync that fails
  // may have lost them as well.
  bool has_weak_frames_ = false;
  std::atomic<bool> is_doubtful_ = false;
  std::mutex mutex_;  // nothing is written to the -wal while it is synced, and the reverse
};

}  // namespace once::sqlite
