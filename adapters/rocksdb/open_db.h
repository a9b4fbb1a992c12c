// One opening of the RocksDB folder: the database and its column families, closed together. A store
// opens its folder again after a write has failed.
// Thread-safety: as RocksDB: const access is safe for concurrent use, closing is not.
#pragma once

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "once/rocksdb/store.h"

namespace once::rocksdb {

// The store's own column families come first, users' tables after them.
inline constexpr std::size_t kRowsFamily = 0;
inline constexpr std::size_t kSegmentsFamily = 1;
inline constexpr std::size_t kOpenFamily = 2;
inline constexpr std::size_t kRunsFamily = 3;
inline constexpr std::size_t kOwnFamilies = 4;

// What is opened, each time in the same way.
struct DbSpec {
  std::string path;
  ::rocksdb::Env* env = nullptr;
  std::shared_ptr<::rocksdb::Cache> cache;
  std::vector<std::string> families;  // by index
  StoreOptions options;
};

class OpenDb {
 public:
  // `error` says why it is null.
  static std::unique_ptr<OpenDb> Open(const DbSpec& spec, ::rocksdb::Status& error);
  // Writes nothing and can only be read: where Open() fails because nothing can be written.
  static std::unique_ptr<OpenDb> OpenReadOnly(const DbSpec& spec, ::rocksdb::Status& error);
  ~OpenDb();
  OpenDb(const OpenDb&) = delete;
  OpenDb& operator=(const OpenDb&) = delete;

  ::rocksdb::DB& db() const { return *db_; }
  ::rocksdb::ColumnFamilyHandle* family(std::size_t index) const { return families_[index]; }
  std::size_t families() const { return families_.size(); }

 private:
  OpenDb() = default;

  ::rocksdb::DB* db_ = nullptr;
  std::vector<::rocksdb::ColumnFamilyHandle*> families_;
};

// The column families that the folder has and those that the options name, as DbSpec wants them.
absl::StatusOr<std::vector<std::string>> FindFamilies(const DbSpec& spec, bool is_new);

}  // namespace once::rocksdb
