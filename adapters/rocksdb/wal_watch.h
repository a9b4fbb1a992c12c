// WalWatch stands between RocksDB and its write-ahead log and notes what went wrong there: a commit
// whose record did not fit on the disk has certainly not happened, one whose sync failed may have,
// and RocksDB answers both with one code. It also has manifests marked (manifest_mark.h).
// Thread-safety: safe for concurrent use.
#pragma once

#include <rocksdb/file_system.h>

#include <atomic>
#include <memory>
#include <string>

namespace once::rocksdb {

class WalWatch final : public ::rocksdb::FileSystemWrapper {
 public:
  explicit WalWatch(const std::shared_ptr<::rocksdb::FileSystem>& target)
      : FileSystemWrapper(target) {}

  // Since Forget():
  struct Notes {
    std::atomic<bool> has_appended = false;  // some record may lie in the log
    std::atomic<bool> has_no_space = false;  // an append found no space …
    std::atomic<bool> has_failed = false;    // … or failed in another way, or a sync did
  };
  void Forget();
  const Notes& notes() const { return notes_; }

  const char* Name() const override { return "OnceWalWatch"; }
  ::rocksdb::IOStatus NewWritableFile(const std::string& name,
                                      const ::rocksdb::FileOptions& options,
                                      std::unique_ptr<::rocksdb::FSWritableFile>* file,
                                      ::rocksdb::IODebugContext* context) override;
  ::rocksdb::IOStatus ReuseWritableFile(const std::string& name, const std::string& former,
                                        const ::rocksdb::FileOptions& options,
                                        std::unique_ptr<::rocksdb::FSWritableFile>* file,
                                        ::rocksdb::IODebugContext* context) override;

 private:
  Notes notes_;
};

}  // namespace once::rocksdb
