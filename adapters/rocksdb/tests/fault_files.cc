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
    const bool is_torn = fault == Fault::kTornWrite || fault == Fault::kDiskFull;
    const Slice written(data.data(), is_torn ? data.size() / 2 : data.size());
    IOStatus status = FSWritableFileOwnerWrapper::Append(written, options, context);
    size_ += written.size();
    if (!is_torn) return status;
    return fault == Fault::kDiskFull ? IOStatus::NoSpace("full") : IOStatus::IOError("torn");
  }
  IOStatus Append(const Slice& data, const IOOptions& options,
                  const ::rocksdb::DataVerificationInfo&, IODebugContext* context) override {
    return Append(data, options, context);
  }
  IOStatus Sync(const IOOptions& options, IODebugContext* context) override {
    return Synced(FSWritableFileOwnerWrapper::Sync(options, context));
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* context) override {
    return Synced(FSWritableFileOwnerWrapper::Fsync(options, context));
  }

 private:
  IOStatus Synced(IOStatus status) {
    const Fault fault = owner_->Strike(/*is_sync=*/true, path_);
    if (fault == Fault::kSyncError) return IOStatus::IOError("not synced");
    if (fault == Fault::kFullSync) return IOStatus::NoSpace("not synced");
    if (status.ok()) owner_->NoteSynced(path_, size_);
    return status;
  }

  const std::string path_;
  const std::shared_ptr<FaultFiles> owner_;
  std::size_t size_ = 0;
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
  IOStatus status = FileSystemWrapper::NewWritableFile(name, options, file, context);
  if (status.ok()) {
    *file = std::make_unique<FaultFile>(std::move(*file), name, shared_from_this());
  }
  return status;
}

IOStatus FaultFiles::RenameFile(const std::string& from, const std::string& to,
                                const IOOptions& options, IODebugContext* context) {
  IOStatus status = FileSystemWrapper::RenameFile(from, to, options, context);
  const std::lock_guard lock(mutex_);
  if (status.ok()) synced_[to] = synced_[from];
  return status;
}

FaultScope::FaultScope() : files_(std::make_shared<FaultFiles>()) { SetFileSystemForTest(files_); }

FaultScope::~FaultScope() { SetFileSystemForTest(nullptr); }

}  // namespace once::rocksdb
