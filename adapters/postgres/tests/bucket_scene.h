// Ids in buckets that a test closes and drops when it says so. Thread-safety: none.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "adapters/postgres/bucket_upkeep.h"
#include "adapters/postgres/tests/store_scene.h"
#include "tests/retention_scene.h"

namespace once::postgres {

class PostgresIds : public StoreScene {
 protected:
  static std::string IdOf(int number) { return absl::StrFormat("id-%06d", number); }

  StoreOptions Patient() {
    StoreOptions options = Options();
    options.lock_timeout = absl::Milliseconds(900);
    return options;
  }

  // Without positions: nobody knows how old they are.
  void MustApplyRange(int first, int end) {
    for (int i = first; i < end; ++i) MustApply(IdOf(i), Durability::kProcess);
  }

  // All in one transaction.
  std::vector<bool> AreCompleted(int end) {
    std::vector<std::string> ids;
    std::vector<IdKey> keys;
    for (int i = 0; i < end; ++i) ids.push_back(IdOf(i));
    for (const std::string& id : ids) keys.push_back({"scope", id});
    std::vector<IdRecord> records(keys.size());
    const auto begun = Begin();
    const absl::Status found = begun->FindIds(keys, records);
    EXPECT_TRUE(found.ok()) << found;
    std::vector<bool> completed;
    for (const IdRecord& record : records) {
      completed.push_back(record.state == IdState::kCompleted);
    }
    return completed;
  }

  Statistics MustReadStatistics() {
    const auto statistics = ReadStatistics(*store_);
    EXPECT_TRUE(statistics.ok()) << statistics.status();
    return statistics.value_or(Statistics{});
  }

  std::string Ask(const std::string& what) {
    const auto rows = RunSql(connection(), absl::StrCat("SELECT ", what));
    return rows.empty() ? "" : rows[0][0];
  }
  std::string BucketOf(std::string_view id) {
    return Ask(
        absl::StrCat("bucket FROM ", schema().name(), ".known_ids WHERE id = '", ToAbsl(id), "'"));
  }
};

// The store keeps everything; a BucketUpkeep beside it forgets when a test says so.
class BucketScene : public once::testing::RetentionScene<PostgresIds> {
 protected:
  BucketScene() { OpenBoth(); }

  void OpenBoth() {
    StoreOptions options = Patient();
    store_ = MustOpen(options);
    options.retention = kRetention;
    auto database = Database::Open(options);
    EXPECT_TRUE(database.ok()) << database.status();
    database_ = *std::move(database);
    upkeep_ = std::make_unique<BucketUpkeep>(*database_);
    auto session = database_->ConnectAside();
    EXPECT_TRUE(session.ok()) << session.status();
    session_ = *std::move(session);
    const absl::Status begun = upkeep_->Restart(*session_, absl::Minutes(5));
    EXPECT_TRUE(begun.ok()) << begun;
  }

  // True: there is more to do.
  bool Look() {
    const auto more = upkeep_->Look(*session_, std::stop_token());
    EXPECT_TRUE(more.ok()) << more.status();
    return more.value_or(false);
  }
  void LookAfterAll() {
    for (int i = 0; Look(); ++i) ASSERT_LT(i, 100) << "there is no end of it";
  }
  // Somebody held the lock at the last look, and it is not asked for again at once.
  template <typename Condition>
  void LookUntil(Condition is_so) {
    for (int i = 0; i < 2'000 && !is_so(); ++i) {
      LookAfterAll();
      absl::SleepFor(absl::Milliseconds(10));
    }
    EXPECT_TRUE(is_so());
  }
  // One more of them: the log goes on by more than one holds.
  void MustFillBucket(int partition, int first) {
    MustSettle(partition, first, first + 27);
    LookAfterAll();
  }
  std::unique_ptr<StoreTransaction> BeginOn(int partition, PositionStamp* stamp = nullptr) {
    const TakeRequest take{.key = KeyOf(partition), .writer = 9};
    const auto taken = transactions().Take({&take, 1});
    EXPECT_TRUE(taken.ok()) << taken.status();
    if (stamp != nullptr) *stamp = taken->front().current;
    const PositionLock lock{.key = KeyOf(partition), .expected = taken->front().current};
    auto begun = transactions().Begin({&lock, 1});
    EXPECT_TRUE(begun.ok() && begun->transaction) << begun.status();
    return std::move(begun->transaction);
  }
  static absl::StatusOr<IdRecord> FindIn(StoreTransaction& transaction, std::string_view id) {
    const IdKey key{"scope", id};
    IdRecord record;
    absl::Status found = transaction.FindIds({&key, 1}, {&record, 1});
    if (!found.ok()) return found;
    return record;
  }
  void MustPut(std::string_view id, IdState state) { MustPutIn(Begin(), id, state); }
  // Beside a position: with a log time.
  void MustPutDated(std::string_view id, IdState state) { MustPutIn(BeginOn(0), id, state); }
  static void MustPutIn(std::unique_ptr<StoreTransaction> begun, std::string_view id,
                        IdState state) {
    const IdWrite write{.key = {"scope", id}, .record = {.state = state, .attempt = 1}};
    ASSERT_TRUE(begun->PutIds({&write, 1}).ok());
    ASSERT_TRUE(begun->Commit(Durability::kMachine).ok());
  }

  std::shared_ptr<Database> database_;
  std::unique_ptr<BucketUpkeep> upkeep_;
  std::unique_ptr<Session> session_;
};

}  // namespace once::postgres
