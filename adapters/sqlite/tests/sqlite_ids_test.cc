// Ids in a log that is sealed and merged all the time: what was acknowledged is known and nothing
// else is, also in copies of the file taken at any moment, and whatever fails while it works.
#include <fstream>
#include <set>
#include <thread>

#include "adapters/sqlite/tests/ids_of_file.h"
#include "adapters/sqlite/tests/ids_scene.h"

namespace once::sqlite {
namespace {

using ::testing::IsEmpty;

using SqliteIds = IdsScene;

TEST_F(SqliteIds, ThatAreOldAreStillKnownAndNothingElseIs) {
  MustOpenPatiently();
  MustApplyRange(0, 600);
  WaitUntilSealed();
  ExpectKnown(600);
  MustOpenPatiently();
  EXPECT_LE(Figures().at("recent_ids_count"), 100) << "the others come from runs";
  ExpectKnown(600);
  MustApplyRange(600, 700);
  ExpectKnown(700);
}

TEST_F(SqliteIds, AreFoundByOperatorsWhereverTheyLie) {
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
  EXPECT_TRUE(store_->operations()->FindId("")->empty());
  EXPECT_TRUE(store_->operations()->FindId(std::string(10'000, 'x'))->empty());
}

TEST_F(SqliteIds, OfClaimsAreSealedWithTheirResultsBesideThem) {
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
  EXPECT_EQ(Figures().at("open_ids_count"), 100);
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

TEST_F(SqliteIds, AreVerifiedAndCopiedWhileMoreAreSealed) {
  MustOpenPatiently();
  MustApplyRange(0, 300);
  WaitUntilSealed();
  std::thread more([&] { MustApplyRange(300, 600); });
  for (int i = 0; i < 20; ++i) {
    const auto findings = store_->maintenance()->Verify({});
    EXPECT_TRUE(findings.ok()) << findings.status();
    EXPECT_THAT(findings.value_or(std::vector<std::string>{}), IsEmpty());
  }
  more.join();
  ASSERT_TRUE(store_->maintenance()->Compact({}).ok());
  const std::string copy = folder_.File("copy.db");
  ASSERT_TRUE(store_->maintenance()->Backup(copy, {}).ok());
  MustOpen(Patient(copy));
  ExpectKnown(600);
}

TEST_F(SqliteIds, StayWhereTheyAreWhileAHandlerTakesLong) {
  MustOpenPatiently();
  MustApplyRange(0, 50);
  const auto transaction = Begin();
  ASSERT_TRUE(Complete(*transaction, IdOf(50)).ok());
  absl::SleepFor(absl::Milliseconds(50));
  ASSERT_TRUE(transaction->Commit(Durability::kMachine).ok());
  WaitUntilSealed();
  ExpectKnown(51);
}

TEST_F(SqliteIds, ThatRunsNoLongerNeedTakeNoRoomInTheFile) {
  MustOpenPatiently();
  MustApplyRange(0, 600);
  WaitUntilSealed();
  std::vector<std::string> left;
  for (int i = 0; i < 10'000; ++i) {
    left = OwnConnection(path()).Run("SELECT count(DISTINCT place >> 32) FROM once_pages").rows;
    if (left == std::vector{absl::StrCat(Figures().at("runs_count"))}) break;
    absl::SleepFor(absl::Milliseconds(1));
  }
  EXPECT_THAT(left, ::testing::ElementsAre(absl::StrCat(Figures().at("runs_count"))));
  EXPECT_LT(std::stoi(OwnConnection(path()).Run("SELECT count(*) FROM once_segments").rows.front()),
            20);
}

TEST_F(SqliteIds, OfAPageLieOnOnePageOfTheFile) {
  SetIdLogOptionsForTest(std::nullopt);
  MustOpenPatiently();
  store_.reset();
  OwnConnection connection(path());
  for (const int page_size : {512, 4096, 65536}) {
    ASSERT_EQ(connection
                  .Run(absl::StrCat("PRAGMA journal_mode = DELETE; PRAGMA page_size = ", page_size,
                                    "; VACUUM; DELETE FROM once_pages"))
                  .code,
              SQLITE_OK);
    const auto bytes = FindRunPageBytes(connection.get(), path());
    ASSERT_TRUE(bytes.ok()) << bytes.status();
    ASSERT_EQ(connection
                  .Run(absl::StrCat("INSERT INTO once_pages VALUES(", std::int64_t{7} << 32,
                                    ", zeroblob(", *bytes, "))"))
                  .code,
              SQLITE_OK);
    EXPECT_THAT(connection
                    .Run("SELECT count(*) FROM dbstat WHERE name = 'once_pages' AND "
                         "pagetype = 'overflow'")
                    .rows,
                ::testing::ElementsAre("0"));
  }
}

// ---- Crashes ----

class SqliteIdsThatFail : public SqliteIds {
 protected:
  // What the death of the process would leave, or a power failure: the files as far as they were
  // synced.
  std::string Copy(bool is_synced_only) {
    const std::string copy = folder_.File(absl::StrCat("copy", ++copies_, ".db"));
    const auto paused = vfs_.Pause();
    for (const std::string suffix : {"", "-wal"}) {
      std::ifstream in(path_now_ + suffix, std::ios::binary);
      std::ofstream(copy + suffix, std::ios::binary)
          << (is_synced_only ? vfs_.Synced(path_now_ + suffix)
                             : std::string(std::istreambuf_iterator<char>(in),
                                           std::istreambuf_iterator<char>()));
    }
    return copy;
  }
  // Opens that; the store that was open goes on.
  void MustGoOnWith(const std::string& copy) {
    before_.push_back(std::move(store_));
    path_now_ = copy;
    MustOpen(Patient(copy));
  }
  std::set<std::string> EffectsNow() {
    const auto rows = OwnConnection(path_now_).Run("SELECT row FROM effects").rows;
    return {rows.begin(), rows.end()};
  }
  void TearDown() override {
    store_.reset();
    before_.clear();
  }

  FaultVfs vfs_;
  std::string path_now_ = path();
  std::vector<std::shared_ptr<DedupStore>> before_;
  int copies_ = 0;
};

TEST_F(SqliteIdsThatFail, SurviveTheProcessAtAnyMoment) {
  MustOpenPatiently();
  for (int round = 0; round < 8; ++round) {
    MustApplyRange(60 * round, 60 * (round + 1));
    MustGoOnWith(Copy(false));
    ExpectKnown(60 * (round + 1));
  }
  WaitUntilSealed();
}

TEST_F(SqliteIdsThatFail, SurviveAPowerFailureOnceTheyAreSynced) {
  vfs_.KeepSynced();
  MustOpenPatiently();
  int next = 0;
  for (int round = 0; round < 6; ++round) {
    int synced = 0;
    for (const int end = next + 57; next < end; ++next) {
      const bool is_synced = next % 10 == 0;
      const absl::Status applied =
          ApplyAs(IdOf(next), is_synced ? Durability::kMachine : Durability::kProcess);
      ASSERT_TRUE(applied.ok()) << applied;
      if (is_synced) synced = next + 1;
    }
    const std::string running_path = path_now_;
    const std::string left = Copy(true);
    const std::shared_ptr<DedupStore> running = store_;
    MustGoOnWith(left);
    const std::vector<bool> completed = AreCompleted(next);
    const std::set<std::string> effects = EffectsNow();
    for (int i = 0; i < next; ++i) {
      const bool is_completed = completed[static_cast<std::size_t>(i)];
      EXPECT_EQ(is_completed, effects.contains(IdOf(i))) << i;
      EXPECT_TRUE(is_completed || i >= synced) << i << " of " << synced;
    }
    before_.push_back(std::exchange(store_, running));
    path_now_ = running_path;
  }
  WaitUntilSealed();
}

TEST_F(SqliteIdsThatFail, AreThereOnceTheyAreAcknowledgedWhateverFails) {
  MustOpenPatiently();
  std::map<std::string, absl::Status> outcomes;
  int next = 0;
  for (const Fault fault :
       {Fault::kWriteError, Fault::kTornWrite, Fault::kDiskFull, Fault::kSyncError}) {
    for (int nth = 1; nth <= 12; ++nth) {
      vfs_.Arm(fault, "-wal", nth);
      for (int i = 0; i < 15; ++i, ++next) {
        outcomes[IdOf(next)] =
            ApplyAs(IdOf(next), i % 3 == 0 ? Durability::kMachine : Durability::kProcess);
      }
      vfs_.Disarm();
    }
  }
  for (const bool is_opened_again : {false, true}) {
    if (is_opened_again) MustOpenPatiently();
    const std::vector<bool> completed = AreCompleted(next);
    const std::set<std::string> effects = EffectsNow();
    ASSERT_EQ(completed.size(), outcomes.size());
    int failed = 0;
    for (int i = 0; i < next; ++i) {
      const absl::Status& outcome = outcomes[IdOf(i)];
      const bool is_completed = completed[static_cast<std::size_t>(i)];
      EXPECT_EQ(is_completed, effects.contains(IdOf(i))) << i << ": " << outcome;
      if (absl::IsUnknown(outcome)) continue;
      EXPECT_EQ(is_completed, outcome.ok()) << i << ": " << outcome;
      failed += outcome.ok() ? 0 : 1;
    }
    EXPECT_GT(failed, 0);
  }
  MustApplyRange(next, next + 100);
  WaitUntilSealed();
}

// The log is in doubt until then, and answers from what it is certain of.
TEST_F(SqliteIdsThatFail, OfACommitThatNobodyKnowsAreDecidedByTheNextTransaction) {
  MustOpenPatiently();
  MustApplyRange(0, 100);
  for (int round = 0; round < 5; ++round) {
    vfs_.Arm(Fault::kSyncError, "-wal", 1, /*is_lasting=*/true);
    const absl::Status applied = ApplyAs(IdOf(100 + round), Durability::kMachine);
    vfs_.Disarm();
    ASSERT_FALSE(applied.ok());
    EXPECT_TRUE(store_->operations()->FindId(IdOf(100 + round))->empty());
    const bool is_known = IsCompleted(IdOf(100 + round));
    EXPECT_FALSE(is_known) << "this process has rolled it back";
    ASSERT_TRUE(ApplyAs(IdOf(200 + round), Durability::kMachine).ok());
    const std::vector<std::string> names = NamesOfIds(Copy(false));
    EXPECT_EQ(std::find(names.begin(), names.end(), IdOf(100 + round)) != names.end(), is_known);
  }
}

}  // namespace
}  // namespace once::sqlite
