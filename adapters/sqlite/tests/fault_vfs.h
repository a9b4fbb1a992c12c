// A FaultVfs is SQLite's own file layer with failures on demand: the n-th operation of a kind on a
// file whose name ends in a suffix fails, half done where that is how it fails. It also knows what
// a power failure would leave: of every file what it was when it was last synced.
// While it lives it is SQLite's default. Thread-safety: safe for concurrent use, one operation of a
// file at a time.
#pragma once

#include <sqlite3.h>

#include <cstddef>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace once::sqlite {

enum class Fault {
  kNone,
  kWriteError,    // nothing is written
  kTornWrite,     // half is written, then an I/O error
  kDiskFull,      // half is written, then no space
  kSyncError,     // written to the page cache, not synced
  kSharedMemory,  // the -shm cannot be mapped
};

class FaultVfs {
 public:
  FaultVfs();
  ~FaultVfs();
  FaultVfs(const FaultVfs&) = delete;
  FaultVfs& operator=(const FaultVfs&) = delete;

  // As long as it is held, no file is changed by another thread: for a look at several files.
  std::unique_lock<std::recursive_mutex> Pause() const { return std::unique_lock(mutex_); }

  // The `nth` (from 1) operation that `fault` can hit fails, and with `is_lasting` all later ones.
  void Arm(Fault fault, std::string_view suffix, int nth, bool is_lasting = false);
  void Disarm() {
    const auto paused = Pause();
    fault_ = Fault::kNone;
  }
  bool has_fired() const {
    const auto paused = Pause();
    return has_fired_;
  }

  // Successful syncs of files whose name ends in `suffix`, since the beginning.
  int CountSyncs(std::string_view suffix) const;
  // From now on keeps what was synced of every file …
  void KeepSynced() { keeps_synced_ = true; }
  bool keeps_synced() const { return keeps_synced_; }
  // … empty when nothing was.
  std::string Synced(const std::string& path) const;

  // From now on a sync that fails gives the file back what was synced of it, as a system does that
  // drops pages it could not write. REQUIRES: KeepSynced().
  void DropUnsynced() { drops_unsynced_ = true; }
  bool drops_unsynced() const { return drops_unsynced_; }
  // Calls `watch` before every write to a file whose name ends in `suffix`.
  void WatchWrites(std::string_view suffix, std::function<void()> watch);

  // For the file layer, while it holds Pause():
  void NoteWriting(std::string_view path) const;
  void NoteWritten(const std::string& path, std::size_t offset, std::size_t size);
  void NoteTruncated(const std::string& path, std::size_t size);
  void NoteSynced(const std::string& path, const std::string& content);
  // What the file holds in the place of what was not synced, by offset.
  std::map<std::size_t, std::string> NoteSyncFailed(const std::string& path);
  // Whether this operation is to fail.
  bool ShouldFail(Fault fault, std::string_view path);
  Fault fault() const { return fault_; }
  sqlite3_vfs* real() const { return real_; }

 private:
  mutable std::recursive_mutex mutex_;
  sqlite3_vfs* real_;
  sqlite3_vfs vfs_;
  Fault fault_ = Fault::kNone;
  std::string suffix_;
  int countdown_ = 0;
  bool is_lasting_ = false;
  bool has_fired_ = false;
  bool keeps_synced_ = false;
  bool drops_unsynced_ = false;
  std::string watched_;
  std::function<void()> watch_;
  struct Range {
    std::size_t offset = 0;
    std::size_t size = 0;
  };
  struct SyncedFile {
    int syncs = 0;
    std::string content;
    std::vector<Range> unsynced;
  };
  std::map<std::string, SyncedFile> synced_;  // by path
};

}  // namespace once::sqlite
