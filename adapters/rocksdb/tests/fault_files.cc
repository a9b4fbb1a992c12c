// Every method passes on to the real file; some of them may fail first.
#include "adapters/rocksdb/tests/fault_files.h"

#include <utility>

#include "absl/strings/match.h"
#include "adapters/rocksdb/database.h"
#include "once/abseil.h"

namespace once::rocksdb {
namespace {

using ::rocksdb::IODebugContext;
using ::rocksdb::IOOptions;
using ::rocksdb::IOStatus;
using ::rocksdb::Slice;

class FaultFile final : public ::rocksdb::FSWritableFileOwnerWrapper {
 public:
  FaultFile(std::unique_ptr<::rocksdb::FSWritableFile> file, std::string path,
            std::shared_ptr<FaultFiles> owner)
      : FSWritableFileOwnerWrapper(std::move(file)),
        path_(std::move(path)),
        owner_(std::move(owner)) {}

  IOStatus Append(const Slice& data, const IOOptions& options, IODebugContext* context) override {
    const Fault fault = owner_->Strike(/*is_sync=*/false, path_);
    if (fault == Fault::kWriteError) return IOStatus::IOError("no such luck");
    const IOStatus passed = owner_->PassSpell(FaultFiles::Work::kWrite);
    const bool is_torn = fault == Fault::kTornWrite || fault == Fault::kDiskFull || !passed.ok();
    const Slice written(data.data(), is_torn ? data.size() / 2 : data.size());
    IOStatus status = FSWritableFileOwnerWrapper::Append(written, options, context);
    size_ += written.size();
    if (!is_torn) return status;
    if (!passed.ok()) return passed;
    return fault == Fault::kDiskFull ? IOStatus::NoSpace("full") : IOStatus::IOError("torn");
  }
  IOStatus Append(const Slice& data, const IOOptions& options,
                  const ::rocksdb::DataVerificationInfo&, IODebugContext* context) override {
    return Append(data, options, context);
  }
  IOStatus Sync(const IOOptions& options, IODebugContext* context) override {
    // What is appended meanwhile may be left out by the sync.
    const std::size_t size = size_;
    return Synced(size, owner_->is_syncing() ? FSWritableFileOwnerWrapper::Sync(options, context)
                                             : IOStatus::OK());
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* context) override {
    const std::size_t size = size_;
    return Synced(size, owner_->is_syncing() ? FSWritableFileOwnerWrapper::Fsync(options, context)
                                             : IOStatus::OK());
  }

 private:
  IOStatus Synced(std::size_t size, IOStatus status) {
    const Fault fault = owner_->Strike(/*is_sync=*/true, path_);
    if (fault == Fault::kSyncError) return IOStatus::IOError("not synced");
    if (fault == Fault::kFullSync) return IOStatus::NoSpace("not synced");
    if (const IOStatus passed = owner_->PassSpell(FaultFiles::Work::kSync); !passed.ok()) {
      return passed;
    }
    if (status.ok() && owner_->has_power()) owner_->NoteSynced(path_, size);
    return status;
  }

  const std::string path_;
  const std::shared_ptr<FaultFiles> owner_;
  std::atomic<std::size_t> size_ = 0;
};

bool IsOfSyncs(Fault fault) { return fault == Fault::kSyncError || fault == Fault::kFullSync; }

}  // namespace

void FaultFiles::Arm(Fault fault, std::string_view suffix, int nth, bool is_lasting) {
  const std::lock_guard lock(mutex_);
  fault_ = fault;
  suffix_ = std::string(suffix);
  left_ = nth;
  is_lasting_ = is_lasting;
  if (fault != Fault::kNone) has_fired_ = false;
}

bool FaultFiles::has_fired() const {
  const std::lock_guard lock(mutex_);
  return has_fired_;
}

Fault FaultFiles::Strike(bool is_sync, const std::string& path) {
  const std::lock_guard lock(mutex_);
  const bool can_hit =
      fault_ != Fault::kNone && IsOfSyncs(fault_) == is_sync && absl::EndsWith(path, suffix_);
  if (!can_hit || left_ == 0) return Fault::kNone;
  if (left_ > 1) {
    --left_;
    return Fault::kNone;
  }
  if (!is_lasting_) left_ = 0;
  has_fired_ = true;
  return fault_;
}

void FaultFiles::Begin(const FaultSpell& spell) {
  const std::lock_guard lock(mutex_);
  spell_ = spell;
  spell_calls_ = 0;
  spell_failures_ = 0;
}

void FaultFiles::End() {
  const std::lock_guard lock(mutex_);
  spell_.reset();
}

std::int64_t FaultFiles::spell_calls() const {
  const std::lock_guard lock(mutex_);
  return spell_calls_;
}

std::int64_t FaultFiles::spell_failures() const {
  const std::lock_guard lock(mutex_);
  return spell_failures_;
}

IOStatus FaultFiles::PassSpell(Work work) {
  const std::lock_guard lock(mutex_);
  if (!spell_) return IOStatus::OK();
  const bool can_hit = work == Work::kWrite  ? spell_->hits_writes
                       : work == Work::kSync ? spell_->hits_syncs
                                             : spell_->hits_names;
  if (!can_hit) return IOStatus::OK();
  ++spell_calls_;
  const std::int64_t end = spell_->first + spell_->count;
  if (spell_calls_ < spell_->first || spell_calls_ >= end) return IOStatus::OK();
  ++spell_failures_;
  return spell_->is_full ? IOStatus::NoSpace("full") : IOStatus::IOError("out of order");
}

std::size_t FaultFiles::SyncedBytes(const std::string& path) const {
  const std::lock_guard lock(mutex_);
  const auto found = synced_.find(path);
  return found == synced_.end() ? 0 : found->second;
}

void FaultFiles::NoteSynced(const std::string& path, std::size_t size) {
  const std::lock_guard lock(mutex_);
  synced_[path] = size;
}

IOStatus FaultFiles::NewWritableFile(const std::string& name, const ::rocksdb::FileOptions& options,
                                     std::unique_ptr<::rocksdb::FSWritableFile>* file,
                                     IODebugContext* context) {
  if (IOStatus passed = PassSpell(Work::kName); !passed.ok()) return passed;
  IOStatus status = FileSystemWrapper::NewWritableFile(name, options, file, context);
  if (status.ok()) {
    *file = std::make_unique<FaultFile>(std::move(*file), name, shared_from_this());
  }
  return status;
}

IOStatus FaultFiles::RenameFile(const std::string& from, const std::string& to,
                                const IOOptions& options, IODebugContext* context) {
  if (IOStatus passed = PassSpell(Work::kName); !passed.ok()) return passed;
  if (!has_power_) return IOStatus::OK();
  IOStatus status = FileSystemWrapper::RenameFile(from, to, options, context);
  const std::lock_guard lock(mutex_);
  if (status.ok()) synced_[to] = synced_[from];
  return status;
}

IOStatus FaultFiles::DeleteFile(const std::string& name, const IOOptions& options,
                                IODebugContext* context) {
  if (!has_power_) return IOStatus::OK();
  return FileSystemWrapper::DeleteFile(name, options, context);
}

FaultScope::FaultScope() : files_(std::make_shared<FaultFiles>()) { SetFileSystemForTest(files_); }

FaultScope::~FaultScope() { SetFileSystemForTest(nullptr); }

}  // namespace once::rocksdb
