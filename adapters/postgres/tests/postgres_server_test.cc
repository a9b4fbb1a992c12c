// A server that dies, comes back, comes back with less, or comes back as another.
#include <chrono>
#include <thread>

#include "absl/strings/str_replace.h"
#include "adapters/postgres/tests/former_format.h"
#include "adapters/postgres/tests/store_scene.h"

namespace once::postgres {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ServerTest : public StoreScene {
 protected:
  ~ServerTest() override {
    store_.reset();
    schema_.reset();
  }
  std::string connection() const override { return server_.connection(); }

  // The first call after a break may find it out.
  absl::Status ApplyPatiently(const std::string& id) {
    absl::Status applied;
    for (int attempt = 0; attempt < 200; ++attempt) {
      applied = Apply(id);
      if (!absl::IsUnavailable(applied) && !absl::IsAborted(applied)) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return applied;
  }
  absl::Status Claim(const std::string& id) {
    ClaimStore& claims = *store_->claims();
    const ClaimRequest request{.key = {"scope", id}, .fence = claims.NewFence()};
    ClaimResult result;
    return claims.TryClaim({&request, 1}, absl::Hours(1), {&result, 1});
  }

  // What is not flushed by a commit is not flushed by chance either.
  PrivateServer server_{"wal_writer_delay = 10s"};
};

TEST_F(ServerTest, AfterAKillOfTheServerTheStoreGoesOn) {
  MustOpen();
  MustApply("before");
  const auto open = Begin();
  ASSERT_TRUE(AddEffect(*open, schema(), "lost").ok());
  server_.Kill();
  EXPECT_FALSE(open->Commit(Durability::kMachine).ok());
  EXPECT_TRUE(absl::IsUnavailable(Apply("while it is away")));
  server_.Start();
  const absl::Status applied = ApplyPatiently("after");
  EXPECT_TRUE(applied.ok()) << applied;
  EXPECT_THAT(Effects(), ElementsAre("before", "after"));
  EXPECT_EQ(store_->traits().weakness, "");
}

TEST_F(ServerTest, WhileTheServerIsAwayCallsFailAtOnce) {
  MustOpen();
  server_.Kill();
  const auto began = std::chrono::steady_clock::now();
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(absl::IsUnavailable(Apply("id")));
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(5));
  server_.Start();
}

TEST_F(ServerTest, ClaimsThatTheServerHasLostAreNeverPromisedToBeOnDisk) {
  bool has_lost = false;
  for (int round = 0; round < 10 && !has_lost; ++round) {
    MustOpen();
    ASSERT_TRUE(store_->claims()->Sync().ok());
    ASSERT_TRUE(Claim(absl::StrCat("synced ", round)).ok());
    ASSERT_TRUE(store_->claims()->Sync().ok());
    ASSERT_TRUE(Claim(absl::StrCat("lost ", round)).ok());
    server_.LosePower();
    server_.Start();
    EXPECT_EQ(Find(absl::StrCat("synced ", round))->state, IdState::kClaimed);
    has_lost = Find(absl::StrCat("lost ", round))->state == IdState::kAbsent;
    // More words than were lost hide nothing.
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(Claim(absl::StrCat("later ", i, " ", round)).ok());
    // Every thread that recorded something is told, and told once: it then records it anew.
    absl::Status synced_elsewhere;
    std::thread([&] { synced_elsewhere = store_->claims()->Sync(); }).join();
    EXPECT_TRUE(synced_elsewhere.ok() || has_lost) << synced_elsewhere;
    const absl::Status synced = store_->claims()->Sync();
    EXPECT_EQ(absl::IsUnavailable(synced), has_lost) << synced;
    ASSERT_TRUE(Claim(absl::StrCat("anew ", round)).ok());
    EXPECT_TRUE(store_->claims()->Sync().ok());
  }
  EXPECT_TRUE(has_lost) << "the server has flushed everything in time, ten times";
  MustOpen();
  EXPECT_TRUE(Claim("anew").ok());
  EXPECT_TRUE(store_->claims()->Sync().ok());
}

TEST_F(ServerTest, AFailoverLowersWhatIsPromised) {
  MustOpen();
  MustApply("before");
  EXPECT_EQ(store_->traits().durability, Durability::kMachine);
  server_.BecomeStandby();
  EXPECT_TRUE(absl::IsUnavailable(Apply("on a standby")));
  server_.Promote();
  const absl::Status applied = ApplyPatiently("after");
  EXPECT_TRUE(applied.ok()) << applied;
  EXPECT_THAT(Effects(), ElementsAre("before", "after"));
  EXPECT_EQ(store_->traits().durability, Durability::kProcess);
  EXPECT_THAT(store_->traits().weakness, HasSubstr("failed over"));
  // Whoever opens it now starts from what there is.
  MustOpen();
  EXPECT_EQ(store_->traits().durability, Durability::kMachine);
}

TEST_F(ServerTest, AServerThatWasPutBackToAnEarlierMomentLowersWhatIsPromised) {
  MustOpen();
  MustApply("before");
  server_.KeepCopy();
  ASSERT_TRUE(ApplyPatiently("lost").ok());
  // A restart alone is none.
  server_.Kill();
  server_.Start();
  ASSERT_TRUE(ApplyPatiently("lost too").ok());
  EXPECT_EQ(store_->traits().durability, Durability::kMachine);
  server_.ReturnToCopy();
  ASSERT_TRUE(ApplyPatiently("after").ok());
  EXPECT_THAT(Effects(), ElementsAre("before", "after"));
  EXPECT_EQ(store_->traits().durability, Durability::kProcess);
  EXPECT_THAT(store_->traits().weakness, HasSubstr("earlier moment"));
  MustOpen();
  EXPECT_EQ(store_->traits().durability, Durability::kMachine);
}

TEST_F(ServerTest, AnotherStoreAtTheSameAddressIsNotTakenForOurs) {
  MustOpen();
  MustApply("before");
  RunSql(connection(), absl::StrCat("UPDATE ", schema().name(),
                                    ".meta SET value = 'another' WHERE key = 'store'"));
  schema().EndSessions();
  EXPECT_THAT(ApplyPatiently("after"),
              Says(absl::StatusCode::kDataLoss, "no longer behind this address"));
}

TEST_F(ServerTest, AStandbyIsNotOpened) {
  MustOpen();
  server_.BecomeStandby();
  const auto opened = OpenStore(Options());
  EXPECT_TRUE(absl::IsUnavailable(opened.status())) << opened.status();
  server_.Promote();
}

TEST_F(ServerTest, WhatAServerRisksIsSaid) {
  MustOpen();
  EXPECT_EQ(store_->traits().weakness, "");
  RunSql(connection(), "ALTER SYSTEM SET fsync = off");
  RunSql(connection(), "SELECT pg_reload_conf()");
  // Who is connected is told with his commits.
  for (int i = 0; i < 200 && store_->traits().weakness.empty(); ++i) {
    MustApply(absl::StrCat("id ", i));
  }
  EXPECT_EQ(store_->traits().durability, Durability::kProcess);
  EXPECT_THAT(store_->traits().weakness, HasSubstr("fsync"));
  MustOpen();
  EXPECT_EQ(store_->traits().durability, Durability::kProcess);
  EXPECT_THAT(store_->traits().weakness, HasSubstr("fsync"));
  // What was committed meanwhile is no safer for it.
  RunSql(connection(), "ALTER SYSTEM SET fsync = on");
  RunSql(connection(), "SELECT pg_reload_conf()");
  schema().EndSessions();
  EXPECT_TRUE(ApplyPatiently("after").ok());
  EXPECT_EQ(store_->traits().durability, Durability::kProcess);
}

TEST_F(ServerTest, ADurableCommitIsOneWhateverTheRoleOrAHandlerHasSet) {
  RunSql(connection(), "ALTER ROLE once SET synchronous_commit = off");
  MustOpen();
  EXPECT_EQ(store_->traits().weakness, "");
  const auto transaction = Begin();
  ASSERT_TRUE(AddEffect(*transaction, schema(), "kept").ok());
  ASSERT_TRUE(Connection(*transaction).Execute("SET LOCAL synchronous_commit TO OFF").ok());
  ASSERT_TRUE(transaction->Commit(Durability::kMachine).ok());
  server_.LosePower();
  server_.Start();
  EXPECT_THAT(Effects(), ElementsAre("kept"));
}

TEST_F(ServerTest, WhatAnotherOpeningHasRecordedIsSyncedByWhoeverAnswersIt) {
  MustOpen();
  ClaimStore& first = *store_->claims();
  const auto other = MustOpen(Options());
  ClaimStore& second = *other->claims();
  const IdKey key{"scope", "id"};
  const ClaimRequest request{.key = key, .fence = first.NewFence()};
  ClaimResult result;
  ASSERT_TRUE(first.TryClaim({&request, 1}, absl::Hours(1), {&result, 1}).ok());
  const CompletedClaim completed{.claim = {.key = key, .fence = request.fence}};
  absl::Status outcome;
  ASSERT_TRUE(first.Complete({&completed, 1}, {&outcome, 1}).ok());
  ASSERT_TRUE(outcome.ok()) << outcome;
  const ClaimRequest again{.key = key, .fence = second.NewFence()};
  ASSERT_TRUE(second.TryClaim({&again, 1}, absl::Hours(1), {&result, 1}).ok());
  ASSERT_EQ(result.verdict, ClaimVerdict::kDuplicate);
  ASSERT_TRUE(second.Sync().ok());
  server_.LosePower();
  server_.Start();
  EXPECT_EQ(Find("id")->state, IdState::kCompleted);
}

TEST_F(ServerTest, OpeningsThatNobodyHasSeenForLongAreForgottenUnlessTheyAreOpen) {
  MustOpen();
  const std::string openings = absl::StrCat(schema().name(), ".openings");
  RunSql(connection(), absl::StrCat("INSERT INTO ", openings, " VALUES(1, 0, now()); UPDATE ",
                                    openings, " SET seen_at = now() - interval '91 days'"));
  const auto other = MustOpen(Options());
  EXPECT_EQ(RunSql(connection(), absl::StrCat("SELECT 1 FROM ", openings)).size(), 2u);
  ASSERT_TRUE(Claim("id").ok());
  EXPECT_TRUE(store_->claims()->Sync().ok());
  // One that is gone all the same is put anew, and what it counted is done again.
  RunSql(connection(), absl::StrCat("DELETE FROM ", openings));
  ASSERT_TRUE(Claim("next").ok());
  EXPECT_THAT(store_->claims()->Sync(), Says(absl::StatusCode::kUnavailable, "has lost"));
  ASSERT_TRUE(Claim("again").ok());
  EXPECT_TRUE(store_->claims()->Sync().ok());
}

// As after a restore or a failover: openings are counted from an earlier number again.
TEST_F(ServerTest, AnOpeningOfTheSameNumberHidesNoLoss) {
  MustOpen();
  ASSERT_TRUE(Claim("lost").ok());
  RunSql(connection(), absl::StrCat("DELETE FROM ", schema().name(), ".openings; UPDATE ",
                                    schema().name(), ".meta SET value = '0' WHERE key = 'opened'"));
  const auto other = MustOpen(Options());
  ASSERT_EQ(other->traits().open_count, store_->traits().open_count);
  const ClaimRequest request{.key = {"scope", "id"}, .fence = other->claims()->NewFence()};
  ClaimResult result;
  ASSERT_TRUE(other->claims()->TryClaim({&request, 1}, absl::Hours(1), {&result, 1}).ok());
  EXPECT_THAT(store_->claims()->Sync(), Says(absl::StatusCode::kUnavailable, "has lost"));
}

TEST_F(ServerTest, ALoginWithoutRightsIsToldWhich) {
  MustOpen();
  RunSql(connection(), "CREATE ROLE guest LOGIN");
  StoreOptions options = Options();
  options.connection =
      absl::StrCat("host=", server_.socket_folder(), " dbname=postgres user=guest");
  auto opened = OpenStore(options);
  EXPECT_THAT(opened.status(), Says(absl::StatusCode::kPermissionDenied, "grant"));
  options.schema = "of_a_guest";
  opened = OpenStore(options);
  EXPECT_THAT(opened.status(), Says(absl::StatusCode::kPermissionDenied, "permission denied"));
  // Rights on one database are all that a store needs.
  RunSql(connection(), "GRANT CREATE ON DATABASE postgres TO guest");
  opened = OpenStore(options);
  EXPECT_TRUE(opened.ok()) << opened.status();
  EXPECT_TRUE((*opened)->transactions()->ReadPositions({}).ok());
  options.connection = absl::StrCat("host=", server_.socket_folder(), " dbname=none user=once");
  EXPECT_THAT(OpenStore(options).status(), Says(absl::StatusCode::kNotFound, "does not exist"));
}

// The owner of the tables brings the store to our format, and looks after the buckets.
TEST_F(ServerTest, ARoleThatOwnsNoTableWorksOnStoresThatWereMigratedAndOnNewBuckets) {
  RunSql(connection(), "CREATE ROLE guest LOGIN");
  const auto run = [&](std::string_view sql) {
    RunSql(connection(), absl::StrReplaceAll(ToAbsl(sql), {{"@", schema().name()}}));
  };
  MustOpen();
  MustApply("to know the scope");
  store_.reset();
  ReturnToFormat2(connection(), schema().name());
  PutFormerId(connection(), schema().name(), "'former', 1, 1, NULL, NULL");
  run("GRANT USAGE ON SCHEMA @ TO guest");
  run("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA @ TO guest");
  MustOpen();
  run("CREATE TABLE @.known_ids_2(LIKE @.known_ids, PRIMARY KEY(scope, id))");
  run("ALTER TABLE @.known_ids ATTACH PARTITION @.known_ids_2 FOR VALUES IN (2)");
  run("UPDATE @.buckets SET log_time_max_ms = 1 WHERE bucket = 1");
  run("INSERT INTO @.buckets(bucket) VALUES(2)");
  StoreOptions options = Options();
  options.connection =
      absl::StrCat("host=", server_.socket_folder(), " dbname=postgres user=guest");
  store_ = MustOpen(options);
  ASSERT_NE(store_, nullptr);
  EXPECT_TRUE(IsCompleted("former"));
  auto begun = Begin();
  ASSERT_TRUE(Complete(*begun, "of the guest").ok());
  const Note note{.key = "of the guest", .value = "1-7"};
  ASSERT_TRUE(begun->PutNotes({&note, 1}).ok());
  const absl::Status committed = begun->Commit(Durability::kMachine);
  EXPECT_TRUE(committed.ok()) << committed;
  EXPECT_TRUE(IsCompleted("of the guest"));
  const auto findings = store_->maintenance()->Verify(std::stop_token());
  ASSERT_TRUE(findings.ok()) << findings.status();
  EXPECT_THAT(*findings, ::testing::IsEmpty());
}

}  // namespace
}  // namespace once::postgres
