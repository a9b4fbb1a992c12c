// Ids in a log that is sealed and merged all the time: what was acknowledged is known and nothing
// else is, also in copies of the folder taken at any moment, and whatever fails while it works.
#include <rocksdb/db.h>

#include <set>
#include <thread>

#include "absl/time/clock.h"
#include "adapters/rocksdb/database.h"
#include "adapters/rocksdb/tests/fault_files.h"
#include "adapters/rocksdb/tests/store_scene.h"
#include "tests/retention_scene.h"

namespace once::rocksdb {
namespace {

using enum absl::StatusCode;

// So little of everything that a few commits fill it.
stores::IdLogOptions Tiny() {
  return {.recent = {.bytes_max = 4096, .chunk_bytes = 512},
          .reload_bytes = 1024,
          .page_bytes = 512,
          .merge = {.runs_max = 3},
          .seal_bytes = 2048,
          .seal_segments = 8};
}

class RocksIds : public StoreScene {
 protected:
  RocksIds() { SetIdLogOptionsForTest(Tiny()); }
  ~RocksIds() override {
    store_.reset();
    SetIdLogOptionsForTest(std::nullopt);
  }

  static std::string IdOf(int number) { return absl::StrFormat("id-%06d", number); }

  // The background task takes turns, too.
  StoreOptions Patient(const std::string& path) {
    StoreOptions options = OptionsFor(path);
    options.busy_timeout = absl::Seconds(10);
    return options;
  }
  void MustOpenPatiently() { MustOpen(Patient(path())); }

  // The id, and a row of the same name.
  absl::Status ApplyWithRow(const std::string& id, Durability wanted = Durability::kProcess) {
    auto begun = transactions().Begin({});
    if (!begun.ok()) return begun.status();
    auto effects = TableOf(*begun->transaction, "effects");
    if (!effects.ok()) return effects.status();
    if (absl::Status put = effects->Put(id, ""); !put.ok()) return put;
    if (absl::Status put = Complete(*begun->transaction, id); !put.ok()) return put;
    return begun->transaction->Commit(wanted);
  }

  void MustApplyRange(int first, int end) {
    for (int i = first; i < end; ++i) {
      const absl::Status applied = ApplyWithRow(IdOf(i));
      ASSERT_TRUE(applied.ok()) << applied;
    }
  }

  std::set<std::string> Rows() {
    std::set<std::string> rows;
    const absl::Status read =
        ForEachCommitted(*store_, "effects", [&](std::string_view key, std::string_view) {
          rows.emplace(key);
          return true;
        });
    EXPECT_TRUE(read.ok()) << read;
    return rows;
  }

  // All in one transaction.
  std::vector<bool> AreCompleted(int end) {
    std::vector<std::string> ids;
    std::vector<IdKey> keys;
    for (int i = 0; i < end; ++i) ids.push_back(IdOf(i));
    for (const std::string& id : ids) keys.push_back({"scope", id});
    std::vector<IdRecord> records(keys.size());
    auto begun = transactions().Begin({});
    EXPECT_TRUE(begun.ok()) << begun.status();
    if (!begun.ok()) return {};
    const absl::Status found = begun->transaction->FindIds(keys, records);
    EXPECT_TRUE(found.ok()) << found;
    std::vector<bool> completed;
    for (const IdRecord& record : records) {
      completed.push_back(record.state == IdState::kCompleted);
    }
    return completed;
  }

  // Ids 0 to `known` - 1 are completed, and those after them are not.
  void ExpectKnown(int known) {
    constexpr int kUnknown = 100;
    const std::vector<bool> completed = AreCompleted(known + kUnknown);
    for (std::size_t i = 0; i < completed.size(); ++i) {
      EXPECT_EQ(completed[i], static_cast<int>(i) < known) << i;
    }
  }

  Statistics MustReadStatistics() {
    const auto statistics = ReadStatistics(*store_);
    EXPECT_TRUE(statistics.ok()) << statistics.status();
    return statistics.value_or(Statistics{});
  }

  // The background task has done all there was to do.
  void WaitUntilSealed() {
    for (int i = 0; i < 10'000; ++i) {
      const Statistics statistics = MustReadStatistics();
      if (statistics.runs > 0 && statistics.runs <= 3 && statistics.unsealed_bytes < 2048) return;
      absl::SleepFor(absl::Milliseconds(1));
    }
    ADD_FAILURE() << "nothing is sealed: " << MustReadStatistics().upkeep_error;
  }
};

TEST_F(RocksIds, ThatAreOldAreStillKnownAndNothingElseIs) {
  MustOpenPatiently();
  MustApplyRange(0, 600);
  WaitUntilSealed();
  ExpectKnown(600);
  MustOpenPatiently();
  EXPECT_LE(MustReadStatistics().recent_ids, 100u) << "the others come from runs";
  ExpectKnown(600);
  MustApplyRange(600, 700);
  ExpectKnown(700);
}

class RocksRetention : public testing::RetentionScene<RocksIds> {
 protected:
  void OpenWithRetention() {
    StoreOptions options = Patient(path());
    options.retention = kRetention;
    MustOpen(options);
  }
};

TEST_F(RocksRetention, WhatIsOlderThanTheSlowestPartitionsLogByMoreIsForgottenAndNothingElse) {
  OpenWithRetention();
  CheckWhatIsOlderThanTheSlowestPartitionsLogByMoreIsForgottenAndNothingElse();
}

TEST_F(RocksRetention, FailuresOutliveTheirAge) {
  OpenWithRetention();
  CheckFailuresOutliveTheirAge();
}

TEST_F(RocksRetention, UndatedIdsAreKeptWithAllThatCameAfterThem) {
  OpenWithRetention();
  CheckUndatedIdsAreKeptWithAllThatCameAfterThem();
}

TEST_F(RocksRetention, IsStatedByTheStoreAndRefusedWhenItIsNone) {
  OpenWithRetention();
  EXPECT_EQ(store_->traits().retention, kRetention);
  StoreOptions options = Patient(folder_.File("other"));
  options.retention = -absl::Seconds(1);
  EXPECT_THAT(OpenStore(options).status().ToString(),
              ::testing::HasSubstr("StoreOptions::retention"));
}

TEST_F(RocksIds, AreFoundByOperatorsWhereverTheyLie) {
  MustOpenPatiently();
  MustApplyRange(0, 600);
  WaitUntilSealed();
  for (const int number : {0, 300, 599}) {
    const auto found = store_->operations()->FindId(IdOf(number));
    ASSERT_TRUE(found.ok()) << found.status();
    ASSERT_EQ(found->size(), 1u);
    EXPECT_EQ(found->front().scope, "scope");
    EXPECT_EQ(found->front().record.state, IdState::kCompleted);
  }
  EXPECT_TRUE(store_->operations()->FindId("nobody")->empty());
}

TEST_F(RocksIds, SurviveTheProcessAtAnyMoment) {
  MustOpenPatiently();
  std::vector<std::shared_ptr<DedupStore>> before;
  for (int round = 0; round < 8; ++round) {
    MustApplyRange(60 * round, 60 * (round + 1));
    const std::string copy = folder_.File(absl::StrCat("copy", round));
    CopyStore(round == 0 ? path() : folder_.File(absl::StrCat("copy", round - 1)), copy);
    before.push_back(std::move(store_));
    MustOpen(Patient(copy));
    ExpectKnown(60 * (round + 1));
  }
}

// What is left are the files as far as they were synced.
TEST_F(RocksIds, SurviveAPowerFailureOnceTheyAreSynced) {
  FaultScope faults;
  MustOpenPatiently();
  int next = 0;
  for (int round = 0; round < 6; ++round) {
    int synced = 0;
    for (const int end = next + 57; next < end; ++next) {
      const bool is_synced = next % 10 == 0;
      const absl::Status applied =
          ApplyWithRow(IdOf(next), is_synced ? Durability::kMachine : Durability::kProcess);
      ASSERT_TRUE(applied.ok()) << applied;
      if (is_synced) synced = next + 1;
    }
    const std::string left = folder_.File(absl::StrCat("left", round));
    CopyStore(path(), left);
    for (const auto& [name, size] : FilesOf(left)) {
      const std::size_t kept = faults->SyncedBytes(path() + "/" + name);
      if (kept == 0) {
        std::filesystem::remove(left + "/" + name);
      } else if (kept < size) {
        std::filesystem::resize_file(left + "/" + name, kept);
      }
    }
    const std::shared_ptr<DedupStore> running = std::exchange(store_, nullptr);
    MustOpen(Patient(left));
    const std::vector<bool> completed = AreCompleted(next);
    const std::set<std::string> rows = Rows();
    for (int i = 0; i < next; ++i) {
      const bool is_completed = completed[static_cast<std::size_t>(i)];
      EXPECT_EQ(is_completed, rows.contains(IdOf(i))) << i;
      EXPECT_TRUE(is_completed || i >= synced) << i << " of " << synced;
    }
    store_ = running;
  }
  WaitUntilSealed();
}

TEST_F(RocksIds, AreThereOnceTheyAreAcknowledgedWhateverFails) {
  FaultScope faults;
  MustOpenPatiently();
  std::map<std::string, absl::Status> outcomes;
  int next = 0;
  for (const Fault fault : {Fault::kWriteError, Fault::kTornWrite, Fault::kDiskFull,
                            Fault::kSyncError, Fault::kFullSync}) {
    for (int nth = 1; nth <= 6; ++nth) {
      faults->Arm(fault, ".log", nth);
      for (int i = 0; i < 15; ++i, ++next) {
        outcomes[IdOf(next)] =
            ApplyWithRow(IdOf(next), i % 3 == 0 ? Durability::kMachine : Durability::kProcess);
      }
      faults->Disarm();
    }
  }
  for (const bool is_opened_again : {false, true}) {
    if (is_opened_again) MustOpenPatiently();
    const std::vector<bool> completed = AreCompleted(next);
    const std::set<std::string> rows = Rows();
    ASSERT_EQ(completed.size(), outcomes.size());
    int failed = 0;
    for (int i = 0; i < next; ++i) {
      const absl::Status& outcome = outcomes[IdOf(i)];
      const bool is_completed = completed[static_cast<std::size_t>(i)];
      EXPECT_EQ(is_completed, rows.contains(IdOf(i))) << i << ": " << outcome;
      if (absl::IsUnknown(outcome)) continue;
      EXPECT_EQ(is_completed, outcome.ok()) << i << ": " << outcome;
      failed += outcome.ok() ? 0 : 1;
    }
    EXPECT_GT(failed, 0);
  }
  MustApplyRange(next, next + 100);
  WaitUntilSealed();
}

TEST_F(RocksIds, OfClaimsAreSealedWithTheirResultsBesideThem) {
  MustOpenPatiently();
  ClaimStore& claims = *store_->claims();
  for (int i = 0; i < 200; ++i) {
    const std::string id = IdOf(i);
    const ClaimRequest request{.key = {"scope", id}, .fence = claims.NewFence()};
    ClaimResult result;
    ASSERT_TRUE(claims.TryClaim({&request, 1}, absl::Hours(1), {&result, 1}).ok());
    ASSERT_EQ(result.verdict, ClaimVerdict::kFresh);
    if (i % 2 == 1) continue;
    const CompletedClaim completed{.claim = {request.key, request.fence}, .result = id};
    absl::Status outcome;
    ASSERT_TRUE(claims.Complete({&completed, 1}, {&outcome, 1}).ok());
    ASSERT_TRUE(outcome.ok()) << outcome;
  }
  WaitUntilSealed();
  EXPECT_EQ(MustReadStatistics().open_ids, 100u);
  MustOpenPatiently();
  for (const int i : {0, 1, 100, 101}) {
    const std::string id = IdOf(i);
    ClaimStore& reopened = *store_->claims();
    const ClaimRequest request{.key = {"scope", id}, .fence = reopened.NewFence()};
    ClaimResult result;
    ASSERT_TRUE(reopened.TryClaim({&request, 1}, absl::Hours(1), {&result, 1}).ok());
    EXPECT_EQ(result.verdict, i % 2 == 0 ? ClaimVerdict::kDuplicate : ClaimVerdict::kFresh) << i;
    EXPECT_EQ(result.result, i % 2 == 0 ? id : "");
  }
}

TEST_F(RocksIds, AreVerifiedWhileMoreAreSealed) {
  MustOpenPatiently();
  MustApplyRange(0, 300);
  WaitUntilSealed();
  std::thread more([&] { MustApplyRange(300, 600); });
  for (int i = 0; i < 20; ++i) {
    const auto findings = store_->maintenance()->Verify({});
    EXPECT_TRUE(findings.ok()) << findings.status();
    EXPECT_THAT(findings.value_or(std::vector<std::string>{}), ::testing::IsEmpty());
  }
  more.join();
  const std::string copy = folder_.File("copy.rocksdb");
  ASSERT_TRUE(store_->maintenance()->Backup(copy, {}).ok());
  MustOpen(Patient(copy));
  ExpectKnown(600);
}

TEST_F(RocksIds, OfAFolderFromBeforeTheLogAreRefusedWithAWayOut) {
  ::rocksdb::Options options;
  options.create_if_missing = true;
  ::rocksdb::DB* raw = nullptr;
  ASSERT_TRUE(::rocksdb::DB::Open(options, path(), &raw).ok());
  const std::unique_ptr<::rocksdb::DB> db(raw);
  ::rocksdb::ColumnFamilyHandle* family = nullptr;
  ASSERT_TRUE(db->CreateColumnFamily({}, "once_ids", &family).ok());
  ASSERT_TRUE(db->DestroyColumnFamilyHandle(family).ok());
  ASSERT_TRUE(db->Close().ok());
  EXPECT_THAT(Open(OptionsFor(path())), Says(kFailedPrecondition, "new folder"));
}

}  // namespace
}  // namespace once::rocksdb
