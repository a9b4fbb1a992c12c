// Files named *.log, watched.
#include "adapters/rocksdb/wal_watch.h"

#include <utility>

#include "absl/strings/match.h"
#include "adapters/rocksdb/manifest_mark.h"

namespace once::rocksdb {
namespace {

using ::rocksdb::IODebugContext;
using ::rocksdb::IOOptions;
using ::rocksdb::IOStatus;
using ::rocksdb::Slice;

class WatchedLog final : public ::rocksdb::FSWritableFileOwnerWrapper {
 public:
  WatchedLog(std::unique_ptr<::rocksdb::FSWritableFile> file, WalWatch::Notes& notes)
      : FSWritableFileOwnerWrapper(std::move(file)), notes_(notes) {}

  IOStatus Append(const Slice& data, const IOOptions& options, IODebugContext* context) override {
    return NoteAppend(FSWritableFileOwnerWrapper::Append(data, options, context));
  }
  IOStatus Append(const Slice& data, const IOOptions& options,
                  const ::rocksdb::DataVerificationInfo& verification,
                  IODebugContext* context) override {
    return NoteAppend(FSWritableFileOwnerWrapper::Append(data, options, verification, context));
  }
  IOStatus Sync(const IOOptions& options, IODebugContext* context) override {
    return NoteSync(FSWritableFileOwnerWrapper::Sync(options, context));
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* context) override {
    return NoteSync(FSWritableFileOwnerWrapper::Fsync(options, context));
  }

 private:
  IOStatus NoteAppend(IOStatus status) {
    notes_.has_appended = true;
    if (!status.ok()) (status.IsNoSpace() ? notes_.has_no_space : notes_.has_failed) = true;
    return status;
  }
  // Also when it says that there is no space: the record lies in the page cache.
  IOStatus NoteSync(IOStatus status) {
    if (!status.ok()) notes_.has_failed = true;
    return status;
  }

  WalWatch::Notes& notes_;
};

void Watch(const std::string& name, WalWatch::Notes& notes,
           std::unique_ptr<::rocksdb::FSWritableFile>& file) {
  if (!absl::EndsWith(name, ".log")) return;
  file = std::make_unique<WatchedLog>(std::move(file), notes);
}

}  // namespace

void WalWatch::Forget() {
  notes_.has_appended = false;
  notes_.has_no_space = false;
  notes_.has_failed = false;
}

IOStatus WalWatch::NewWritableFile(const std::string& name, const ::rocksdb::FileOptions& options,
                                   std::unique_ptr<::rocksdb::FSWritableFile>* file,
                                   IODebugContext* context) {
  IOStatus status = FileSystemWrapper::NewWritableFile(name, options, file, context);
  if (!status.ok()) return status;
  Watch(name, notes_, *file);
  *file = MarkIfManifest(name, std::move(*file));
  return status;
}

IOStatus WalWatch::ReuseWritableFile(const std::string& name, const std::string& former,
                                     const ::rocksdb::FileOptions& options,
                                     std::unique_ptr<::rocksdb::FSWritableFile>* file,
                                     IODebugContext* context) {
  IOStatus status = FileSystemWrapper::ReuseWritableFile(name, former, options, file, context);
  if (status.ok()) Watch(name, notes_, *file);
  return status;
}

}  // namespace once::rocksdb
