// What the tests of the RocksDB store share: a folder of their own, and a store with a table of
// effects. Thread-safety: none.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "once/abseil.h"
#include "once/rocksdb/store.h"
#include "tests/scratch_folder.h"

namespace once::rocksdb {

using testing::ScratchFolder;

inline StoreOptions OptionsFor(const std::string& path) {
  return {.path = path,
          .tables = {"effects"},
          .busy_timeout = absl::Milliseconds(20),
          .cache_bytes = 1024 * 1024};
}

// Behind all rows that are there, as the transaction sees them.
inline absl::Status AddEffect(Transaction& transaction, std::string_view row) {
  absl::StatusOr<Table> effects = TableOf(transaction, "effects");
  if (!effects.ok()) return effects.status();
  int count = 0;
  absl::Status counted = effects->ForEach("", "", [&](std::string_view, std::string_view) {
    ++count;
    return true;
  });
  if (!counted.ok()) return counted;
  return effects->Put(absl::StrFormat("%08d", count), row);
}

inline absl::StatusOr<std::vector<std::string>> ReadEffects(DedupStore& store) {
  std::vector<std::string> rows;
  absl::Status read =
      ForEachCommitted(store, "effects", [&](std::string_view, std::string_view value) {
        rows.emplace_back(value);
        return true;
      });
  if (!read.ok()) return read;
  return rows;
}

// Every file of a folder with its size, but for RocksDB's own diary.
inline std::map<std::string, std::uintmax_t> FilesOf(const std::string& folder) {
  std::map<std::string, std::uintmax_t> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::error_code gone;
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("LOG")) files[name] = entry.file_size(gone);
  }
  return files;
}

// What a process leaves when it dies is what the page cache holds at one moment: the folder and its
// lock, copied while they are open. (A child really killed: rocksdb_kill_test.cc.)
inline void CopyStore(const std::string& from, const std::string& to) {
  for (;;) {
    const auto before = FilesOf(from);
    std::filesystem::remove_all(to);
    std::filesystem::create_directory(to);
    for (const auto& [name, size] : before) {
      std::error_code gone;
      std::filesystem::copy_file(from + "/" + name, to + "/" + name, gone);
    }
    // Otherwise a compaction has come in between, and the copy is of no one moment.
    if (FilesOf(from) == before) break;
  }
  std::filesystem::copy_file(from + ".once-lock", to + ".once-lock");
}

inline PartitionKey Orders(std::int32_t partition = 0) {
  return {.cluster = "cluster", .group = "group", .partition = {"orders", partition}};
}

// One store and the usual steps on it; every step that must succeed fails the test otherwise.
class StoreScene : public ::testing::Test {
 protected:
  std::string path() const { return folder_.File("store.rocksdb"); }

  absl::Status Open(StoreOptions options) {
    store_.reset();
    auto store = OpenStore(std::move(options));
    if (!store.ok()) return store.status();
    store_ = *std::move(store);
    return absl::OkStatus();
  }
  void MustOpen(StoreOptions options) {
    const absl::Status opened = Open(std::move(options));
    ASSERT_TRUE(opened.ok()) << opened;
  }
  void MustOpen() { MustOpen(OptionsFor(path())); }

  TransactionalStore& transactions() { return *store_->transactions(); }

  std::unique_ptr<StoreTransaction> Begin() {
    auto begun = transactions().Begin({});
    EXPECT_TRUE(begun.ok()) << begun.status();
    return begun.ok() ? std::move(begun->transaction) : nullptr;
  }

  static absl::Status Complete(StoreTransaction& transaction, std::string_view id) {
    const IdWrite write{.key = {"scope", id}, .record = {.state = IdState::kCompleted}};
    return transaction.PutIds({&write, 1});
  }

  // An effect and its id in one transaction.
  absl::Status Apply(const std::string& id, Durability wanted = Durability::kMachine) {
    auto begun = transactions().Begin({});
    if (!begun.ok()) return begun.status();
    if (absl::Status effect = AddEffect(*begun->transaction, id); !effect.ok()) return effect;
    if (absl::Status put = Complete(*begun->transaction, id); !put.ok()) return put;
    return begun->transaction->Commit(wanted);
  }
  void MustApply(const std::string& id, Durability wanted = Durability::kMachine) {
    const absl::Status applied = Apply(id, wanted);
    ASSERT_TRUE(applied.ok()) << applied;
  }

  absl::StatusOr<IdRecord> Find(std::string_view id) {
    auto begun = transactions().Begin({});
    if (!begun.ok()) return begun.status();
    const IdKey key{"scope", id};
    IdRecord record;
    const absl::Status found = begun->transaction->FindIds({&key, 1}, {&record, 1});
    if (!found.ok()) return found;
    return record;
  }
  bool IsCompleted(std::string_view id) {
    const auto record = Find(id);
    EXPECT_TRUE(record.ok()) << record.status();
    return record.ok() && record->state == IdState::kCompleted;
  }

  std::vector<std::string> Effects() {
    const auto effects = ReadEffects(*store_);
    EXPECT_TRUE(effects.ok()) << effects.status();
    return effects.value_or(std::vector<std::string>{});
  }

  ScratchFolder folder_;
  std::shared_ptr<DedupStore> store_;
};

// Statuses in assertions: EXPECT_THAT(status, Says(kUnavailable, "locked")).
MATCHER_P2(Says, code, text, "") {
  *result_listener << "where the status is " << arg.ToString();
  return arg.code() == code && ToStd(arg.message()).find(text) != std::string_view::npos;
}

}  // namespace once::rocksdb
