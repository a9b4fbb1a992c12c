// The -wal's write and sync methods with ours in front. Order of a commit in SQLite's wal.c: if the
// log begins anew, its header and the header's sync; the frames; the commit's sync. A checkpoint
// syncs the -wal first and comes after the commit, within the same step.
#include "adapters/sqlite/wal_sync.h"

#include <string>

#include "adapters/sqlite/statement.h"
#include "adapters/sqlite/wal_chain.h"
#include "src/test_hooks.h"

namespace once::sqlite {

absl::StatusOr<WalSync*> WalSync::Attach(sqlite3* connection, bool syncs_commits) {
  sqlite3_file* file = nullptr;
  int code = sqlite3_file_control(connection, "main", SQLITE_FCNTL_JOURNAL_POINTER, &file);
  if (code != SQLITE_OK) return ErrorStatus(connection, code, "find the -wal");
  if (file == nullptr || file->pMethods == nullptr) {
    return absl::InternalError("sqlite: find the -wal: it is not open");
  }
  sqlite3_file* database = nullptr;
  code = sqlite3_file_control(connection, "main", SQLITE_FCNTL_FILE_POINTER, &database);
  if (code != SQLITE_OK) return ErrorStatus(connection, code, "find the database file");
  auto* sync = new WalSync(database, file, syncs_commits);
  // A function of SQL is what this version of SQLite lets live as long as a connection.
  code = sqlite3_create_function_v2(
      connection, "once_wal_sync", 0, SQLITE_UTF8 | SQLITE_DIRECTONLY, sync,
      [](sqlite3_context* context, int, sqlite3_value**) { sqlite3_result_null(context); }, nullptr,
      nullptr, [](void* owned) { delete static_cast<WalSync*>(owned); });
  // SQLite has deleted it on failure.
  if (code != SQLITE_OK) return ErrorStatus(connection, code, "watch the -wal");
  file->pMethods = &sync->methods_;
  sqlite3_int64 left = 0;
  code = sync->real_->xFileSize(file, &left);
  if (code != SQLITE_OK) return ErrorStatus(connection, code, "look at the -wal");
  sync->is_doubtful_ = left > 0;
  sync->has_unsynced_ = left > 0;
  return sync;
}

WalSync::WalSync(sqlite3_file* database, sqlite3_file* file, bool syncs_commits)
    : database_(database),
      file_(file),
      real_(file->pMethods),
      syncs_commits_(syncs_commits),
      methods_{*real_, this} {
  methods_.xWrite = &WalSync::OnWrite;
  methods_.xSync = &WalSync::OnSync;
}

int WalSync::WriteAnew() {
  const std::lock_guard lock(mutex_);
  int code = CopyOntoItself();
  if (code == SQLITE_OK) code = real_->xSync(file_, SQLITE_SYNC_NORMAL);
  if (code == SQLITE_OK) has_unsynced_ = has_weak_frames_ = is_doubtful_ = false;
  return code;
}

int WalSync::CopyOntoItself() {
  WalEnd end;
  if (const int code = ReadWalEnd(database_, end); code != SQLITE_OK || end.frames == 0) {
    return code;
  }
  WalChain chain(end);
  std::string bytes(kWalHeaderBytes, '\0');
  sqlite3_int64 offset = 0;
  for (std::uint32_t frame = 0; frame <= end.frames; ++frame) {
    if (frame == 1) bytes.resize(kWalFrameHeaderBytes + end.page_bytes);
    const int size = static_cast<int>(bytes.size());
    int code = real_->xRead(file_, bytes.data(), size, offset);
    // One that is too short lacks what was dropped.
    if (code == SQLITE_IOERR_SHORT_READ) return SQLITE_CORRUPT;
    if (code != SQLITE_OK) return code;
    if (frame == 0 ? !chain.Begin(bytes) : !chain.Follow(bytes)) return SQLITE_CORRUPT;
    code = real_->xWrite(file_, bytes.data(), size, offset);
    if (code != SQLITE_OK) return code;
    offset += size;
  }
  return chain.IsComplete() ? SQLITE_OK : SQLITE_CORRUPT;
}

int WalSync::Sync() { return OnSync(file_, SQLITE_SYNC_NORMAL); }

int WalSync::SyncBeside() {
  const std::lock_guard lock(mutex_);
  if (is_doubtful_) return SQLITE_IOERR_FSYNC;
  return has_unsynced_ ? SyncNow(SQLITE_SYNC_NORMAL) : SQLITE_OK;
}

int WalSync::SyncNow(int flags) {
  ONCE_KILL_POINT("sqlite.wal_before_sync");
  const int code = real_->xSync(file_, flags);
  ONCE_KILL_POINT("sqlite.wal_synced");
  if (code == SQLITE_OK) {
    has_unsynced_ = has_weak_frames_ = false;
  } else if (has_unsynced_ || has_weak_frames_) {
    is_doubtful_ = true;
  }
  return code;
}

absl::Status WalSync::ErrorOf(int code, std::string_view operation) const {
  int system_error = 0;
  // The file remembers its last one, of whatever call.
  if (code == SQLITE_IOERR_READ || code == SQLITE_IOERR_WRITE || code == SQLITE_IOERR_FSYNC) {
    real_->xFileControl(file_, SQLITE_FCNTL_LAST_ERRNO, &system_error);
  }
  return FileErrorStatus(code, system_error, operation);
}

WalSync& WalSync::Of(sqlite3_file* file) {
  return *static_cast<const Methods*>(file->pMethods)->owner;
}

int WalSync::OnWrite(sqlite3_file* file, const void* content, int size, sqlite3_int64 offset) {
  WalSync& self = Of(file);
  const std::lock_guard lock(self.mutex_);
  // Only the header is written at the beginning.
  if (offset != 0) self.has_frames_ = true;
  if (offset != 0 && !self.syncs_commits_) self.has_weak_frames_ = true;
  const int code = self.real_->xWrite(file, content, size, offset);
  ONCE_KILL_POINT("sqlite.wal_written");
  return code;
}

int WalSync::OnSync(sqlite3_file* file, int flags) {
  WalSync& self = Of(file);
  const std::lock_guard lock(self.mutex_);
  // Without a frame before it, it is the header's.
  if (self.may_skip_ && self.has_frames_) {
    self.may_skip_ = false;
    self.has_unsynced_ = true;
    ONCE_KILL_POINT("sqlite.wal_sync_skipped");
    return SQLITE_OK;
  }
  // A sync beside this transaction has failed: neither may the commit count as synced, nor may a
  // checkpoint move what is before it.
  if (self.is_doubtful_) return SQLITE_IOERR_FSYNC;
  return self.SyncNow(flags);
}

}  // namespace once::sqlite
