// FaultFiles is the system's file layer with failures on demand: the n-th operation of a kind on a
// file whose name ends in a suffix fails, half done where that is how it fails. It also knows what
// a power failure would leave: of every file the part that was synced.
// While it lives it lies under every store that is opened. Thread-safety: safe for concurrent use.
#pragma once

#include <rocksdb/file_system.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace once::rocksdb {

enum class Fault {
  kNone,
  kWriteError,  // nothing is written
  kTornWrite,   // half is written, then an I/O error
  kDiskFull,    // half is written, then no space
  kSyncError,   // written to the page cache, not synced
  kFullSync,    // the same, and the sync says that there is no space
};

// A while in which calls fail: `count` of those that it can hit, from the `first` (from 1) on. What
// is written then is half done, and what is not synced lies in the page cache.
struct FaultSpell {
  bool hits_writes = true;
  bool hits_syncs = true;
  bool hits_names = true;  // making and renaming files
  std::int64_t first = 1;
  std::int64_t count = 1;
  bool is_full = false;  // for want of space rather than with an I/O error
};

class FaultFiles final : public ::rocksdb::FileSystemWrapper,
                         public std::enable_shared_from_this<FaultFiles> {
 public:
  FaultFiles() : FileSystemWrapper(::rocksdb::FileSystem::Default()) {}

  // The `nth` (from 1) operation that `fault` can hit fails, and with `is_lasting` all later ones.
  void Arm(Fault fault, std::string_view suffix, int nth, bool is_lasting = false);
  void Disarm() { Arm(Fault::kNone, "", 1); }
  bool has_fired() const;

  // Beside what Arm() has asked for.
  void Begin(const FaultSpell& spell);
  void End();
  // The machine loses its power. Whatever still runs is told that all goes well, but nothing counts
  // as synced any more, and no file is renamed or removed, until the power is back.
  void SetPower(bool is_on) { has_power_ = is_on; }
  bool has_power() const { return has_power_; }
  // Calls since Begin() that the spell could have hit, and those that it did.
  std::int64_t spell_calls() const;
  std::int64_t spell_failures() const;
  // From now on nothing is really synced: where no machine will lose its power.
  void SkipSyncs() { is_syncing_ = false; }

  // How much of the file was synced; nothing of one that never was.
  std::size_t SyncedBytes(const std::string& path) const;
  void NoteSynced(const std::string& path, std::size_t size);
  // Which of the two faults of a kind strikes now, if any.
  Fault Strike(bool is_sync, const std::string& path);
  // For the files: what the spell has a call of that kind answer; OK: it goes on.
  enum class Work { kWrite, kSync, kName };
  ::rocksdb::IOStatus PassSpell(Work work);
  bool is_syncing() const { return is_syncing_; }

  const char* Name() const override { return "FaultFiles"; }
  ::rocksdb::IOStatus NewWritableFile(const std::string& name,
                                      const ::rocksdb::FileOptions& options,
                                      std::unique_ptr<::rocksdb::FSWritableFile>* file,
                                      ::rocksdb::IODebugContext* context) override;
  ::rocksdb::IOStatus RenameFile(const std::string& from, const std::string& to,
                                 const ::rocksdb::IOOptions& options,
                                 ::rocksdb::IODebugContext* context) override;
  ::rocksdb::IOStatus DeleteFile(const std::string& name, const ::rocksdb::IOOptions& options,
                                 ::rocksdb::IODebugContext* context) override;

 private:
  mutable std::mutex mutex_;
  Fault fault_ = Fault::kNone;
  std::string suffix_;
  int left_ = 1;
  bool is_lasting_ = false;
  bool has_fired_ = false;
  std::map<std::string, std::size_t> synced_;
  std::optional<FaultSpell> spell_;
  std::int64_t spell_calls_ = 0;
  std::int64_t spell_failures_ = 0;
  std::atomic<bool> is_syncing_ = true;
  std::atomic<bool> has_power_ = true;
};

// Under the stores that are opened while it lives.
class FaultScope {
 public:
  FaultScope();
  ~FaultScope();
  FaultScope(const FaultScope&) = delete;
  FaultScope& operator=(const FaultScope&) = delete;
  FaultFiles* operator->() const { return files_.get(); }
  FaultFiles& operator*() const { return *files_; }

 private:
  const std::shared_ptr<FaultFiles> files_;
};

}  // namespace once::rocksdb
