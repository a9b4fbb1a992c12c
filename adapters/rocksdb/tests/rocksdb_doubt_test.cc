// What a failed write leaves, what is said of it, and how the store comes back.
#include "adapters/rocksdb/tests/fault_files.h"
#include "adapters/rocksdb/tests/store_scene.h"
#include "once/transact.h"

namespace once::rocksdb {
namespace {

using ::testing::ElementsAre;
using enum absl::StatusCode;

class RocksDoubt : public StoreScene {
 protected:
  void SetUp() override {
    MustOpen();
    MustApply("before");
  }
  void TearDown() override { store_.reset(); }

  std::uint64_t Reopenings() {
    const auto statistics = ReadStatistics(*store_);
    EXPECT_TRUE(statistics.ok()) << statistics.status();
    return statistics.ok() ? statistics->reopenings : 0;
  }
  std::string LogFile() {
    for (const auto& [name, size] : FilesOf(path())) {
      if (name.ends_with(".log")) return path() + "/" + name;
    }
    ADD_FAILURE() << "no log";
    return "";
  }

  FaultScope faults_;
};

TEST_F(RocksDoubt, AFullDiskIsDefiniteAndOverWhenThereIsSpace) {
  faults_->Arm(Fault::kDiskFull, "", 1, /*is_lasting=*/true);
  EXPECT_THAT(Apply("id"), Says(kResourceExhausted, "make space"));
  EXPECT_THAT(Apply("id"), Says(kResourceExhausted, "takes no other yet"));
  EXPECT_THAT(Effects(), ElementsAre("before"));
  faults_->Disarm();
  MustApply("id");
  EXPECT_THAT(Effects(), ElementsAre("before", "id"));
  EXPECT_EQ(Reopenings(), 1u);
}

// The record lies in the page cache, whatever the sync says.
TEST_F(RocksDoubt, AFailedSyncIsUnknownAndTheNextCallDecides) {
  int tries = 0;
  for (const Fault fault : {Fault::kSyncError, Fault::kFullSync}) {
    const std::string id = absl::StrCat("id-", ++tries);
    faults_->Arm(fault, ".log", 1);
    EXPECT_THAT(Apply(id), Says(kUnknown, "taken again"));
    EXPECT_TRUE(faults_->has_fired());
    EXPECT_TRUE(IsCompleted(id));
    EXPECT_EQ(Reopenings(), static_cast<std::uint64_t>(tries));
  }
  EXPECT_THAT(Effects(), ElementsAre("before", "id-1", "id-2"));
}

TEST_F(RocksDoubt, ATornRecordIsUnknownUntilItIsFoundNotToBeThere) {
  faults_->Arm(Fault::kTornWrite, ".log", 1);
  EXPECT_THAT(Apply("id"), Says(kUnknown, "taken again"));
  EXPECT_FALSE(IsCompleted("id"));
  MustApply("id");
  EXPECT_THAT(Effects(), ElementsAre("before", "id"));
}

TEST_F(RocksDoubt, AFolderThatCannotBeOpenedAgainIsStillRead) {
  faults_->Arm(Fault::kSyncError, ".log", 1);
  EXPECT_THAT(Apply("id"), Says(kUnknown, "taken again"));
  faults_->Arm(Fault::kWriteError, ".dbtmp", 1, /*is_lasting=*/true);
  EXPECT_THAT(Apply("next"), Says(kUnavailable, "again after a write that failed"));
  EXPECT_THAT(Effects(), ElementsAre("before", "id"));
  EXPECT_THAT(Apply("next"), Says(kUnavailable, "again after a write that failed"));
  faults_->Disarm();
  MustApply("next");
  EXPECT_THAT(Effects(), ElementsAre("before", "id", "next"));
}

TEST_F(RocksDoubt, CommitsThatTheSystemHasDroppedAreDataLossUntilTheNextStart) {
  MustApply("unsynced", Durability::kProcess);
  faults_->Arm(Fault::kSyncError, ".log", 1);
  EXPECT_THAT(Apply("id"), Says(kUnknown, "taken again"));
  const std::string log = LogFile();
  std::filesystem::resize_file(log, faults_->SyncedBytes(log));
  EXPECT_THAT(Apply("next"), Says(kDataLoss, "start the process again"));
  EXPECT_THAT(Apply("next"), Says(kDataLoss, "start the process again"));
  EXPECT_THAT(store_->claims()->Sync(), Says(kDataLoss, "start the process again"));
  MustOpen();
  EXPECT_THAT(Effects(), ElementsAre("before"));
  EXPECT_FALSE(IsCompleted("unsynced"));
  MustApply("next");
}

TEST_F(RocksDoubt, ARoundOfWhichNobodyKnowsWhetherItIsPlacedIsDecidedBeforeItIsAskedFor) {
  OutgoingLog& log = *store_->transactions()->outgoing();
  const absl::Status published = Transact(*store_, [](Transaction& transaction) {
    return transaction.Publish({.topic = "orders", .key = "k", .value = "v"});
  });
  ASSERT_TRUE(published.ok()) << published;
  const auto rows = log.FindUnplaced(0, {.rows_max = 10, .bytes_max = 1000});
  ASSERT_TRUE(rows.ok()) << rows.status();
  ASSERT_EQ(rows->size(), 1u);
  OutgoingRound round{.epoch = 7, .placements = {{.number = rows->at(0).number, .sequence = 1}}};
  faults_->Arm(Fault::kSyncError, ".log", 1);
  EXPECT_THAT(log.Advance({.placed = {&round, 1}}), Says(kUnknown, ""));
  // The record lies in the page cache: it is placed, and must not be placed again.
  const auto unfinished = log.FindUnfinished(0);
  ASSERT_TRUE(unfinished.ok()) << unfinished.status();
  ASSERT_EQ(unfinished->size(), 1u);
  EXPECT_EQ(unfinished->at(0).round.epoch, 7u);
  EXPECT_TRUE(log.FindUnplaced(0, {.rows_max = 10, .bytes_max = 1000}).value().empty());
}

}  // namespace
}  // namespace once::rocksdb
