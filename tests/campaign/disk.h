// A Disk is SQLite's own file layer with a disk beneath it that can fail and lose its power. Files
// really exist, and hold what the page cache would; the Disk knows beside that what of every file
// was synced. After a power cut nothing works any more, and AfterPowerCut() draws what a machine
// may find when it starts again: everything that was synced, and of every later change any part of
// it, in units of a sector. A sync that fails makes nothing durable, now or by a later sync: the
// system may have dropped the pages and forgotten that they were never written.
//
// A Disk never syncs the real files. While it lives it is SQLite's default file layer.
// Thread-safety: safe for concurrent use, one call at a time.
#pragma once

#include <sqlite3.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace once::campaign {

// Numbers without visible order, from a seed. Thread-safety: none.
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : seed_(seed) {}
  std::uint64_t Next();
  // From [0, bound). REQUIRES: bound > 0.
  std::int64_t Below(std::int64_t bound);
  bool OneIn(std::int64_t bound) { return Below(bound) == 0; }

 private:
  std::uint64_t seed_;
  std::uint64_t count_ = 0;
};

// What a disk is asked to do, as bits of a mask.
enum DiskWork : std::uint32_t {
  kDiskWrite = 1,
  kDiskSync = 2,
  kDiskTruncate = 4,
  kDiskDelete = 8,
  kDiskOpen = 16,
  kDiskLock = 32,
  kDiskRead = 64,
  kDiskShare = 128,  // the -shm: mapping and locking it
  kDiskLook = 256,   // size and existence of files
  kDiskChange = kDiskWrite | kDiskSync | kDiskTruncate | kDiskDelete,
  kDiskAll = 511,
};

// `work` fails from its `first`-th call (from 1) on, `count` times; writes are half done.
struct DiskFault {
  std::uint32_t work = kDiskAll;
  std::int64_t first = 1;
  std::int64_t count = 1;
  // Not 0: where a sync of a -wal fails, the system drops some of its pages, by these dice, and the
  // file reads as the disk has it.
  std::uint64_t drops = 0;
  bool is_full = false;  // writes fail for want of space rather than with an I/O error
};

// The content of a file, by path.
using FileContents = std::map<std::string, std::string>;

class Disk {
 public:
  Disk();
  ~Disk();
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;

  // At the `change`-th change from now on (from 1) the power goes: a write, a truncation or a
  // deletion is made but not durable, a sync is not made.
  void CutPowerAt(std::int64_t change);
  void CutPowerNow() {
    const auto alone = Alone();
    has_power_ = false;
  }
  void KeepPower() {
    const auto alone = Alone();
    cut_at_ = 0;
  }
  bool has_power() const {
    const auto alone = Alone();
    return has_power_ && !is_deaf_;
  }
  // While a process is torn down that has died: its calls fail and change nothing, and what it has
  // written stays in the page cache.
  void Deafen(bool is_deaf) {
    const auto alone = Alone();
    is_deaf_ = is_deaf;
  }
  // The machine starts again, and this is what its disk holds. The files must be there already.
  void PowerUp(const FileContents& contents);

  void Fail(const DiskFault& fault);
  void Mend() {
    const auto alone = Alone();
    fault_.reset();
  }
  // Calls that failed since Fail().
  std::int64_t failures() const { return CountOf(failures_); }
  // Of them those that dropped pages.
  std::int64_t drops() const { return CountOf(drops_); }
  // Calls since Fail() that the fault could have struck.
  std::int64_t fault_calls() const { return CountOf(fault_calls_); }

  std::int64_t changes() const { return CountOf(changes_); }
  // Calls of all kinds.
  std::int64_t calls() const { return CountOf(calls_); }

  // What may be left of the files in use; a file that is not listed may be gone.
  // REQUIRES: !has_power().
  FileContents AfterPowerCut(Dice& dice) const;

  // For the file layer, which holds it for the whole of a call.
  std::unique_lock<std::recursive_mutex> Alone() const { return std::unique_lock(mutex_); }
  // False: the call must fail.
  bool May(DiskWork work);
  bool is_full() const { return fault_.has_value() && fault_->is_full; }
  sqlite3_vfs* real() const { return real_; }
  void NoteOpened(const std::string& path, std::string content, bool is_new);
  void NoteWritten(const std::string& path, std::int64_t offset, std::string bytes);
  void NoteTruncated(const std::string& path, std::int64_t size);
  void NoteSynced(const std::string& path);
  // What the file holds now, if the system has dropped pages of it.
  std::optional<std::string> NoteSyncFailed(const std::string& path);
  void NoteDeleted(const std::string& path, bool is_durable);

 private:
  struct Change {
    bool is_truncation = false;
    std::int64_t offset = 0;  // or the size that a truncation leaves
    std::string bytes;
    bool is_synced = false;
    bool is_doubtful = false;  // a sync of it has failed: only chance can make it durable
  };
  struct File {
    bool is_present = true;
    // When it was made or deleted; what happens to names reaches the disk in order. 0: it has.
    std::int64_t named_at = 0;
    std::string durable;          // before the changes
    std::vector<Change> changes;  // in order
    // What the name meant before, while that may still be so on the disk; null: nothing.
    std::shared_ptr<const File> former;
  };

  static std::string Draw(const File& file, Dice& dice);
  static void Settle(File& file);
  static std::string Read(const File& file);
  void SyncNames();
  std::int64_t CountOf(const std::int64_t& count) const {
    const auto alone = Alone();
    return count;
  }

  mutable std::recursive_mutex mutex_;
  sqlite3_vfs* const real_;
  sqlite3_vfs vfs_;
  bool has_power_ = true;
  bool is_deaf_ = false;
  std::int64_t cut_at_ = 0;
  std::int64_t changes_ = 0;
  std::int64_t calls_ = 0;
  std::optional<DiskFault> fault_;
  std::int64_t fault_calls_ = 0;
  std::int64_t failures_ = 0;
  std::int64_t drops_ = 0;
  std::map<std::string, File> files_;
  std::int64_t names_changed_ = 0;  // files made and deleted, since all names were durable
};

}  // namespace once::campaign
