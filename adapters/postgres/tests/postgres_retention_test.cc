// Buckets of ids: what is forgotten and what never is, and that nobody who writes notices.
#include <thread>

#include "absl/time/clock.h"
#include "adapters/postgres/tests/bucket_scene.h"

namespace once::postgres {
namespace {

using enum absl::StatusCode;

class BucketTest : public BucketScene {};

TEST_F(BucketTest, ANewOneIsBegunOnceTheLogHasGoneOnByAFourthOfTheRetention) {
  LookAfterAll();
  MustSettle(0, 0, 1);
  LookAfterAll();
  EXPECT_EQ(upkeep_->due_ms(), 25'001);
  MustSettle(0, 1, 26);
  LookAfterAll();
  EXPECT_EQ(MustReadStatistics().buckets, 1);
  MustSettle(0, 26, 27);
  LookAfterAll();
  EXPECT_EQ(MustReadStatistics().buckets, 2);
  EXPECT_EQ(upkeep_->due_ms(), 51'001);
  MustSettle(0, 27, 28);
  EXPECT_EQ(BucketOf(IdOf(26)), "1");
  EXPECT_EQ(BucketOf(IdOf(27)), "2");
}

TEST_F(BucketTest, NothingIsForgottenWhileThePositionOfOnePartitionHasNoLogTime) {
  MustSettle(0, 0, 1);
  LookAfterAll();
  const TakeRequest take{.key = KeyOf(1), .writer = 7};
  ASSERT_TRUE(transactions().Take({&take, 1}).ok());
  MustFillBucket(0, 1);
  MustFillBucket(0, 800);
  EXPECT_EQ(MustReadStatistics().buckets, 1);
  MustSettle(1, 900, 901);
  LookAfterAll();
  EXPECT_EQ(MustReadStatistics().buckets, 2);
}

TEST_F(BucketTest, MoreThanSoManyThereNeverAre) {
  MustSettle(1, 0, 1);
  for (int i = 0; i <= kBucketsMax; ++i) {
    MustSettle(0, 30 * i, 30 * i + 1);
    LookAfterAll();
  }
  EXPECT_EQ(MustReadStatistics().buckets, kBucketsMax);
  MustSettle(0, 3000, 3001);
  LookAfterAll();
  EXPECT_EQ(MustReadStatistics().buckets, kBucketsMax);
  EXPECT_EQ(upkeep_->due_ms(), kNoLogTime) << "nothing can be done before something is dropped";
}

// Without the lock both would find the id absent, and each would be alone in a bucket.
TEST_F(BucketTest, OfTwoThatFoundAnIdAbsentOneCommitsThoughALookComesBetween) {
  MustSettle(0, 0, 1);
  MustSettle(1, 0, 1);
  LookAfterAll();
  auto slow = BeginOn(0);
  ASSERT_EQ(FindIn(*slow, "wanted")->state, IdState::kAbsent);
  MustSettle(1, 1, 30);
  LookAfterAll();
  EXPECT_EQ(MustReadStatistics().buckets, 1) << "one that looked for ids is open";
  auto quick = BeginOn(1);
  ASSERT_EQ(FindIn(*quick, "wanted")->state, IdState::kAbsent);
  ASSERT_TRUE(Complete(*quick, "wanted").ok());
  ASSERT_TRUE(quick->Commit(Durability::kMachine).ok());
  ASSERT_TRUE(Complete(*slow, "wanted").ok());
  EXPECT_THAT(slow->Commit(Durability::kMachine), Says(kAborted, ""));
  slow.reset();
  LookUntil([&] { return MustReadStatistics().buckets == 2; });
  EXPECT_EQ(Ask(absl::StrCat("count(*) FROM ", schema().name(), ".known_ids WHERE id = 'wanted'")),
            "1");
}

TEST_F(BucketTest, OneWhoWaitsForARowThatMovesToTheNextBucketIsToldToTryAgain) {
  MustPut("wanted", IdState::kDead);
  MustSettle(1, 0, 1);
  MustSettle(0, 0, 1);
  LookAfterAll();
  MustFillBucket(0, 1);
  ASSERT_EQ(BucketOf("wanted"), "1");
  auto first = BeginOn(0);
  ASSERT_EQ(FindIn(*first, "wanted")->state, IdState::kDead);
  auto second = BeginOn(1);
  absl::StatusOr<IdRecord> seen = absl::UnknownError("not asked");
  std::thread waiting([&] { seen = FindIn(*second, "wanted"); });
  const std::string waits =
      "count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'";
  for (int i = 0; i < 200 && Ask(waits) == "0"; ++i) absl::SleepFor(absl::Milliseconds(1));
  ASSERT_TRUE(Complete(*first, "wanted").ok());
  EXPECT_TRUE(first->Commit(Durability::kMachine).ok());
  waiting.join();
  EXPECT_THAT(seen.status(), Says(kAborted, ""));
  EXPECT_EQ(BucketOf("wanted"), "2");
}

TEST_F(BucketTest, WhatIsOldIsDroppedAndWhatOutlivesItsAgeIsNot) {
  MustSettle(0, 0, 1);
  LookAfterAll();
  MustPutDated("dead", IdState::kDead);
  MustPutDated("retrying", IdState::kRetrying);
  MustPut("undated", IdState::kCompleted);
  const ClaimRequest claim{.key = {"scope", "claimed"}, .fence = store_->claims()->NewFence()};
  ClaimResult claimed;
  ASSERT_TRUE(store_->claims()->TryClaim({&claim, 1}, absl::Hours(1), {&claimed, 1}).ok());
  MustSettle(0, 1, 28);
  LookAfterAll();
  ASSERT_EQ(BucketOf("dead"), "1");
  MustSettle(0, 200, 201);
  LookAfterAll();
  EXPECT_EQ(Ask(absl::StrCat("count(*) FROM ", schema().name(), ".buckets WHERE bucket = 1")), "0");
  EXPECT_EQ(Ask(absl::StrCat("to_regclass('", schema().name(), ".known_ids_1')")), "");
  EXPECT_EQ(CountKnown(28), 0);
  EXPECT_EQ(Find("dead")->state, IdState::kDead);
  EXPECT_EQ(Find("retrying")->state, IdState::kRetrying);
  EXPECT_TRUE(IsCompleted("undated"));
  EXPECT_EQ(Find("claimed")->state, IdState::kClaimed);
}

TEST_F(BucketTest, WhatAServerThatCameUpAgainHasPutBackIsMovedAgain) {
  MustSettle(0, 0, 1);
  MustSettle(1, 0, 1);
  LookAfterAll();
  MustPut("dead", IdState::kDead);
  MustFillBucket(0, 1);
  ASSERT_EQ(BucketOf("dead"), "1");
  MustSettle(1, 150, 151);
  MustSettle(0, 200, 201);
  const auto reader = database_->ConnectAside();
  ASSERT_TRUE(reader.ok()) << reader.status();
  (*reader)->QueueText("BEGIN", "read");
  (*reader)->QueueText(absl::StrCat("SELECT FROM ", schema().name(), ".known_ids_1"), "read");
  ASSERT_TRUE((*reader)->Run(absl::Seconds(10)).ok());
  LookUntil([&] { return BucketOf("dead") != "1"; });
  LookAfterAll();
  // Commits that were not synced are gone.
  RunSql(connection(),
         absl::StrCat("UPDATE ", schema().name(), ".known_ids SET bucket = 1 WHERE id = 'dead'"));
  ASSERT_TRUE(upkeep_->Restart(*session_, absl::Minutes(5)).ok());
  (*reader)->QueueText("ROLLBACK", "read");
  ASSERT_TRUE((*reader)->Run(absl::Seconds(10)).ok());
  LookUntil([&] {
    return Ask(absl::StrCat("to_regclass('", schema().name(), ".known_ids_1')")).empty();
  });
  EXPECT_EQ(Find("dead")->state, IdState::kDead);
}

TEST_F(BucketTest, SoManyOutliveTheirAgeThatTheyMoveInTurns) {
  MustSettle(0, 0, 1);
  LookAfterAll();
  const std::string ids = schema().name() + ".known_ids";
  RunSql(
      connection(),
      absl::StrCat("INSERT INTO ", ids,
                   "(scope, id, state, bucket, is_undated) SELECT scope, int4send(n), 1, 1, CASE "
                   "WHEN n % 3 = 0 THEN true END FROM ",
                   ids, ", generate_series(1, 9000) n WHERE id = '", IdOf(0), "'"));
  MustSettle(0, 1, 28);
  LookAfterAll();
  MustSettle(0, 200, 201);
  LookAfterAll();
  EXPECT_EQ(Ask(absl::StrCat("count(*) FROM ", ids, " WHERE is_undated")), "3000");
  EXPECT_EQ(Ask(absl::StrCat("count(*) FROM ", ids, " WHERE bucket = 1")), "0");
}

// What an operator orders makes the log's time begin anew, and nothing that was settled older.
TEST_F(BucketTest, AnIdIsAsYoungAsItWasThoughItsPositionIsSetBack) {
  MustSettle(0, 0, 1);
  LookAfterAll();
  MustSettle(0, 500, 501);
  ASSERT_TRUE(
      store_->operations()
          ->OrderPosition(
              {.key = KeyOf(0), .directive = PositionDirective::kSet, .position = 0, .writer = 3})
          .ok());
  MustSettle(0, 40, 41);
  LookAfterAll();
  EXPECT_EQ(MustReadStatistics().buckets, 2);
  MustSettle(0, 300, 301);
  LookAfterAll();
  EXPECT_TRUE(IsCompleted(IdOf(500)));
  EXPECT_EQ(
      Ask(absl::StrCat("log_time_max_ms FROM ", schema().name(), ".buckets WHERE bucket = 1")),
      "500000");
}

// A transaction that is open for long holds up forgetting, and nothing else.
TEST_F(BucketTest, NobodyWaitsLongForADropThatCannotBe) {
  MustSettle(0, 0, 1);
  MustSettle(1, 0, 1);
  LookAfterAll();
  MustFillBucket(0, 1);
  auto open = BeginOn(1);
  ASSERT_EQ(FindIn(*open, IdOf(1))->state, IdState::kCompleted);
  open->Rollback();
  MustSettle(1, 150, 151);
  MustSettle(0, 200, 201);
  open = Begin();
  ASSERT_EQ(FindIn(*open, "unknown")->state, IdState::kAbsent);
  std::jthread writer([&](const std::stop_token& stop) {
    for (int i = 0; !stop.stop_requested(); ++i) MustApply(absl::StrCat("meanwhile-", i));
  });
  for (int i = 0; i < 100; ++i) {
    LookAfterAll();
    absl::SleepFor(absl::Milliseconds(10));
  }
  writer.request_stop();
  writer.join();
  EXPECT_TRUE(IsCompleted(IdOf(1))) << "whoever is open may have looked for it";
  open.reset();
  LookUntil([&] { return !IsCompleted(IdOf(1)); });
}

TEST_F(BucketTest, OfTwoThatLookAfterThemOneDoes) {
  MustSettle(0, 0, 1);
  LookAfterAll();
  MustSettle(0, 30, 31);
  session_->Queue(database_->statements().try_upkeep);
  ASSERT_TRUE(session_->Run(absl::Seconds(10)).ok());
  BucketUpkeep other(*database_);
  auto session = database_->ConnectAside();
  ASSERT_TRUE(session.ok());
  const auto more = other.Look(**session, std::stop_token());
  EXPECT_TRUE(more.ok() && !*more) << more.status();
  EXPECT_EQ(MustReadStatistics().buckets, 1);
  LookAfterAll();
  EXPECT_EQ(MustReadStatistics().buckets, 2);
}

TEST_F(BucketTest, OneThatHangsAsItLeadsLosesItsSessionAndAnotherLeads) {
  MustSettle(0, 0, 1);
  LookAfterAll();
  MustSettle(0, 30, 31);
  BucketUpkeep hung(*database_);
  auto session = database_->ConnectAside();
  ASSERT_TRUE(session.ok()) << session.status();
  ASSERT_TRUE(hung.Restart(**session, absl::Milliseconds(300)).ok());
  (*session)->Queue(database_->statements().try_upkeep);
  ASSERT_TRUE((*session)->Run(absl::Seconds(10)).ok());
  LookUntil([&] { return MustReadStatistics().buckets == 2; });
  EXPECT_FALSE((*session)->IsAlive());
}

// Everybody queues behind whoever waits for the lock, whichever process that is.
TEST_F(BucketTest, AfterOneHasWaitedForTheLockInVainNoProcessDoesForAWhile) {
  const std::string meta = schema().name() + ".meta ";
  const auto prolong = [&](const std::string& by) {
    RunSql(connection(),
           absl::StrCat("UPDATE ", meta, "SET value = (value::int8 + extract(epoch FROM interval '",
                        by, "') * 1000000)::int8::text WHERE key = 'upkeep_rest'"));
  };
  MustSettle(0, 0, 1);
  LookAfterAll();
  auto open = Begin();
  ASSERT_EQ(FindIn(*open, "unknown")->state, IdState::kAbsent);
  MustSettle(0, 30, 31);
  LookAfterAll();
  ASSERT_EQ(Ask("count(*) FROM " + meta + "WHERE key = 'upkeep_rest'"), "1");
  open->Rollback();
  prolong("40 s");
  BucketUpkeep other(*database_);
  const auto look = [&] {
    const auto more = other.Look(*session_, std::stop_token());
    EXPECT_TRUE(more.ok()) << more.status();
    return MustReadStatistics().buckets;
  };
  EXPECT_EQ(look(), 1);
  prolong("1 hour");
  EXPECT_EQ(look(), 2) << "nobody has ever rested so long: the clock was set back";
}

TEST_F(BucketTest, ADropThatMeetsAVacuumComesLaterAndKeepsNobodyWaiting) {
  MustSettle(0, 0, 1);
  LookAfterAll();
  MustFillBucket(0, 1);
  const auto vacuum = database_->ConnectAside();
  ASSERT_TRUE(vacuum.ok()) << vacuum.status();
  (*vacuum)->QueueText("BEGIN", "vacuum");
  (*vacuum)->QueueText(
      absl::StrCat("LOCK TABLE ", schema().name(), ".known_ids_1 IN SHARE UPDATE EXCLUSIVE MODE"),
      "vacuum");
  ASSERT_TRUE((*vacuum)->Run(absl::Seconds(10)).ok());
  MustSettle(0, 200, 201);
  std::jthread writer([&](const std::stop_token& stop) {
    for (int i = 0; !stop.stop_requested(); ++i) MustApply(absl::StrCat("meanwhile-", i));
  });
  for (int i = 0; i < 20; ++i) {
    LookAfterAll();
    absl::SleepFor(absl::Milliseconds(20));
  }
  writer.request_stop();
  writer.join();
  EXPECT_EQ(CountKnown(10), 10);
  (*vacuum)->QueueText("COMMIT", "vacuum");
  ASSERT_TRUE((*vacuum)->Run(absl::Seconds(10)).ok());
  LookUntil([&] { return CountKnown(10) == 0; });
}

// A process died behind its creation.
TEST_F(BucketTest, ATableThatWasCreatedAndNeverPutToUseIsTaken) {
  RunSql(connection(), absl::StrCat("CREATE TABLE ", schema().name(), ".known_ids_2(LIKE ",
                                    schema().name(), ".known_ids, PRIMARY KEY(scope, id))"));
  MustSettle(0, 0, 1);
  LookAfterAll();
  MustFillBucket(0, 1);
  EXPECT_EQ(MustReadStatistics().buckets, 2);
}

class PostgresRetention : public once::testing::RetentionScene<PostgresIds> {
 protected:
  void OpenWithRetention() {
    StoreOptions options = Patient();
    options.retention = kRetention;
    store_ = MustOpen(options);
    // The first bucket is begun with the first log time; tests are faster than any real log.
    MustSettle(0, 0, 1);
    const std::string dated =
        absl::StrCat("count(log_time_min_ms) FROM ", schema().name(), ".buckets");
    for (int i = 0; i < 5'000 && Ask(dated) == "0"; ++i) absl::SleepFor(absl::Milliseconds(1));
    EXPECT_EQ(Ask(dated), "1");
  }
};

TEST_F(PostgresRetention, FailuresOutliveTheirAge) {
  OpenWithRetention();
  CheckFailuresOutliveTheirAge();
}

TEST_F(PostgresRetention, OfSeveralProcessesEachMayForgetAndOneMayKeep) {
  StoreOptions options = Patient();
  std::shared_ptr<DedupStore> keeps_all = MustOpen(options);
  options.retention = kRetention;
  const auto other = MustOpen(options);
  OpenWithRetention();
  MustSettle(0, 0, 800);
  EXPECT_TRUE(IsForgottenSoon(300));
  std::swap(store_, keeps_all);
  EXPECT_EQ(CountKnown(300), 0);
  MustSettle(0, 800, 900);
  const std::vector<bool> known = AreCompleted(900);
  for (std::size_t i = 800; i < 900; ++i) EXPECT_TRUE(known[i]) << i;
  EXPECT_EQ(MustReadStatistics().upkeep_error, "");
}

TEST_F(PostgresRetention, OfUndatedIdsThoseAloneAreKept) {
  OpenWithRetention();
  MustApplyRange(1, 11);
  MustSettle(0, 11, 800);
  for (int i = 0; i < 10'000 && CountKnown(300) > 10; ++i) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_EQ(CountKnown(300), 10);
  EXPECT_EQ(CountKnown(11), 10);
}

TEST_F(PostgresRetention, IsStatedByTheStoreAndRefusedWhenItIsNone) {
  OpenWithRetention();
  EXPECT_EQ(store_->traits().retention, kRetention);
  StoreOptions options = Patient();
  options.retention = -absl::Seconds(1);
  EXPECT_THAT(OpenStore(options).status(), Says(kInvalidArgument, "StoreOptions::retention"));
}

TEST_F(PostgresRetention, WhyNothingIsForgottenIsSaid) {
  OpenWithRetention();
  const std::string buckets = absl::StrCat("ALTER TABLE ", schema().name(), ".buckets ");
  RunSql(connection(), buckets + "RENAME log_time_min_ms TO gone");
  std::string error;
  for (int i = 0; i < 5'000 && error.empty(); ++i) {
    absl::SleepFor(absl::Milliseconds(1));
    error = MustReadStatistics().upkeep_error;
  }
  EXPECT_THAT(error, ::testing::HasSubstr("look after ids"));
  RunSql(connection(), buckets + "RENAME gone TO log_time_min_ms");
  for (int i = 0; i < 10'000 && !error.empty(); ++i) {
    absl::SleepFor(absl::Milliseconds(1));
    error = MustReadStatistics().upkeep_error;
  }
  EXPECT_EQ(error, "");
}

class RetentionOnItsOwnServer : public PostgresRetention {
 protected:
  std::string connection() const override { return server_.connection(); }

  PrivateServer server_;
};

TEST_F(RetentionOnItsOwnServer, GoesOnWhenTheServerHasComeUpAgain) {
  OpenWithRetention();
  MustSettle(0, 0, 10);
  server_.Kill();
  EXPECT_FALSE(transactions().ReadPositions({}).ok());
  server_.Start();
  for (int i = 0; i < 5'000 && !transactions().ReadPositions({}).ok(); ++i) {
    absl::SleepFor(absl::Milliseconds(1));
  }
  // The log goes on all the time: whenever the buckets are looked after again, there are new ones.
  constexpr int kIdsATurn = 30;
  for (int i = 0; i < 200 && CountKnown(40) > 0; ++i) {
    MustSettle(0, 10 + i * kIdsATurn, 10 + (i + 1) * kIdsATurn);
    absl::SleepFor(absl::Milliseconds(100));
  }
  EXPECT_EQ(CountKnown(40), 0);
  EXPECT_EQ(MustReadStatistics().upkeep_error, "");
}

// The drop is held up by a reader, until the server has come up without what was moved.
TEST_F(RetentionOnItsOwnServer, MovesAgainWhatTheServerHasPutBackBeforeItDrops) {
  OpenWithRetention();
  const std::string ids = schema().name() + ".known_ids";
  const auto await = [&](const std::string& what, const std::string& wanted) {
    for (int i = 0; i < 30'000 && Ask(what) != wanted; ++i) absl::SleepFor(absl::Milliseconds(1));
    ASSERT_EQ(Ask(what), wanted) << what;
  };
  auto begun = Begin();
  const IdWrite dead{.key = {"scope", "dead"}, .record = {.state = IdState::kDead, .attempt = 3}};
  ASSERT_TRUE(begun->PutIds({&dead, 1}).ok());
  ASSERT_TRUE(begun->Commit(Durability::kMachine).ok());
  begun.reset();
  MustSettle(0, 1, 28);
  await(absl::StrCat("max(bucket) FROM ", schema().name(), ".buckets"), "2");
  auto reader = Database::Open(Options());
  ASSERT_TRUE(reader.ok()) << reader.status();
  auto reading = (*reader)->ConnectAside();
  ASSERT_TRUE(reading.ok()) << reading.status();
  (*reading)->QueueText("BEGIN", "read");
  (*reading)->QueueText(absl::StrCat("SELECT FROM ", ids, "_1"), "read");
  ASSERT_TRUE((*reading)->Run(absl::Seconds(10)).ok());
  MustSettle(0, 200, 201);
  await(absl::StrCat("bucket FROM ", ids, " WHERE id = 'dead'"), "0");
  await("count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'", "1");
  RunSql(connection(), absl::StrCat("UPDATE ", ids, " SET bucket = 1 WHERE id = 'dead'"));
  server_.Kill();
  server_.Start();
  await(absl::StrCat("to_regclass('", ids, "_1')"), "");
  EXPECT_EQ(Ask(absl::StrCat("bucket FROM ", ids, " WHERE id = 'dead'")), "0");
}

}  // namespace
}  // namespace once::postgres
