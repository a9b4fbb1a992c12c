// What operators ask of a store as a whole: figures that are true, damage that is found, room that
// is given back, and a copy that is refused with the way out.
#include <thread>

#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "adapters/postgres/id_rows.h"
#include "adapters/postgres/tests/store_scene.h"
#include "tests/store_figures.h"

namespace once::postgres {
namespace {

using enum absl::StatusCode;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

class Maintenance : public StoreScene {
 protected:
  void SetUp() override { MustOpen(); }

  void Run(std::string_view sql) {
    RunSql(connection(), absl::StrReplaceAll(ToAbsl(sql), {{"@", schema().name()}}));
  }
  std::vector<std::string> Verify() {
    auto findings = store_->maintenance()->Verify(std::stop_token());
    EXPECT_TRUE(findings.ok()) << findings.status();
    return findings.value_or(std::vector<std::string>{"nothing was verified"});
  }
  std::map<std::string, std::int64_t> Figures() {
    return once::testing::FiguresOf(*store_->maintenance());
  }
  // Of each kind: ids, a position, a letter that is kept and pending, a claim.
  void MustFill() {
    for (int i = 0; i < 20; ++i) MustApply(absl::StrCat("id-", i));
    Take(*store_, 1);
    auto begun = Begin();
    const IdWrite dead{.key = {"scope", "dead"}, .record = {.state = IdState::kDead, .attempt = 3}};
    const OutboxRow letter{.origin = {.key = Orders(), .offset = 7},
                           .message = {.topic = "dlq", .value = "body"},
                           .scope = "scope",
                           .id = "dead"};
    ASSERT_TRUE(begun->PutIds({&dead, 1}).ok());
    ASSERT_TRUE(begun->PutOutgoing({&letter, 1}).ok());
    ASSERT_TRUE(begun->Commit(Durability::kMachine).ok());
    const ClaimRequest claim{.key = {"scope", "claimed"}, .fence = store_->claims()->NewFence()};
    ClaimResult result;
    ASSERT_TRUE(store_->claims()->TryClaim({&claim, 1}, absl::Minutes(1), {&result, 1}).ok());
  }
};

TEST_F(Maintenance, FiguresCountWhatIsThere) {
  MustFill();
  ASSERT_TRUE(store_->maintenance()->Compact(std::stop_token()).ok()) << "which analyses";
  const auto figures = Figures();
  EXPECT_EQ(figures.at("ids_estimated_count"), 22);
  EXPECT_EQ(figures.at("bucket_1_ids_estimated_count"), 22);
  EXPECT_EQ(figures.at("undated_ids_estimated_count"), 22)
      << "there were no positions to date them";
  EXPECT_EQ(figures.at("buckets_count"), 1);
  EXPECT_EQ(figures.at("permanent_ids_estimated_count"), 0);
  EXPECT_EQ(figures.at("positions_count"), 1);
  EXPECT_EQ(figures.at("positions_without_log_time_count"), 1);
  EXPECT_EQ(figures.at("outbox_pending_count"), 1);
  EXPECT_EQ(figures.at("letters_kept_count"), 1);
  EXPECT_EQ(figures.at("upkeep_errors_count"), 0);
  EXPECT_GT(figures.at("ids_bytes"), 0);
  EXPECT_GT(figures.at("id_indexes_bytes"), 0);
  EXPECT_GT(figures.at("outbox_bytes"), 0);
}

TEST_F(Maintenance, ErrorsOfTheUpkeepOfOtherProcessesAreTold) {
  const auto await = [&](int count) {
    for (int i = 0; i < 10'000 && Figures().at("upkeep_errors_count") != count; ++i) {
      absl::SleepFor(absl::Milliseconds(1));
    }
    EXPECT_EQ(Figures().at("upkeep_errors_count"), count);
    const auto statistics = ReadStatistics(*store_);
    ASSERT_TRUE(statistics.ok()) << statistics.status();
    EXPECT_EQ(statistics->upkeep_error, "") << "it is none of ours";
    EXPECT_THAT(statistics->upkeep_errors, SizeIs(count));
    EXPECT_THAT(statistics->upkeep_errors, Each(AllOf(StartsWith("once:" + schema().name() + ":"),
                                                      HasSubstr("log_time_min_ms"))));
  };
  Run("ALTER TABLE @.buckets RENAME log_time_min_ms TO gone");
  StoreOptions options = Options();
  options.retention = absl::Seconds(100);
  auto other = MustOpen(options);
  auto third = MustOpen(options);
  await(2);
  third.reset();
  await(1);
  Run("ALTER TABLE @.buckets RENAME gone TO log_time_min_ms");
  await(0);
}

TEST_F(Maintenance, NothingIsFoundInAStoreThatIsWholeAlsoBesideItsConsumers) {
  MustFill();
  EXPECT_THAT(Verify(), IsEmpty());
  std::jthread consumer([&](const std::stop_token& stop) {
    for (int i = 0; !stop.stop_requested(); ++i) {
      EXPECT_TRUE(Apply(absl::StrCat("meanwhile-", i), Durability::kProcess).ok());
    }
  });
  for (int i = 0; i < 10; ++i) EXPECT_THAT(Verify(), IsEmpty());
}

TEST_F(Maintenance, RowsThatContradictThemselvesAreFound) {
  MustFill();
  const auto breaks = [&](std::string_view sql, const auto& matcher) {
    Run(sql);
    EXPECT_THAT(Verify(), Contains(matcher)) << sql;
  };
  breaks("UPDATE @.known_ids SET state = 77 WHERE id = 'id-3'",
         AllOf(HasSubstr("id-3"), HasSubstr("unknown state 77")));
  breaks("UPDATE @.known_ids SET disposition = 99, is_begun = true WHERE id = 'id-4'",
         AllOf(HasSubstr("id-4"), HasSubstr("unknown disposition 99")));
  breaks("UPDATE @.known_ids SET scope = 5 WHERE id = 'id-5'",
         AllOf(HasSubstr("id-5"), HasSubstr("scope is not known")));
  breaks("UPDATE @.known_ids SET attempt = -1 WHERE id = 'id-6'",
         AllOf(HasSubstr("id-6"), HasSubstr("attempt")));
  breaks("UPDATE @.outbox SET state = 3, id = 'nobody'", HasSubstr("held for is not known"));
  breaks("UPDATE @.outbox SET payload = '\\x00'", HasSubstr("outbox row 1"));
  breaks("UPDATE @.outbox SET payload = NULL", HasSubstr("its message is missing"));
  breaks("UPDATE @.outbox SET origin = '\\x00'", HasSubstr("outbox row 1"));
  breaks("UPDATE @.outbox SET state = 9", HasSubstr("unknown state 9"));
  breaks("UPDATE @.positions SET directive = 55", HasSubstr("unknown directive 55"));
  breaks("UPDATE @.positions SET directive = NULL, position = -4", HasSubstr("position of"));
  breaks("UPDATE @.scopes SET name = 'other'", HasSubstr("scope \"other\""));
}

TEST_F(Maintenance, AnIdInTwoBucketsIsFoundAndABucketThatIsNone) {
  MustFill();
  Run("CREATE TABLE @.known_ids_2(LIKE @.known_ids, PRIMARY KEY(scope, id))");
  Run("ALTER TABLE @.known_ids ATTACH PARTITION @.known_ids_2 FOR VALUES IN (2)");
  EXPECT_THAT(Verify(), ElementsAre(HasSubstr("nothing is known of this table")));
  Run("INSERT INTO @.buckets(bucket) VALUES(2), (3)");
  EXPECT_THAT(Verify(), Contains(HasSubstr("bucket 3: it has no table")));
  EXPECT_THAT(Verify(), Contains(HasSubstr("bucket 1: which one is written to is not clear")));
  Run("DELETE FROM @.buckets WHERE bucket = 3; UPDATE @.buckets SET log_time_max_ms = 1 WHERE "
      "bucket = 1");
  EXPECT_THAT(Verify(), IsEmpty());
  Run("INSERT INTO @.known_ids(scope, id, state, bucket) SELECT scope, id, state, 2 FROM "
      "@.known_ids WHERE id = 'id-7'");
  EXPECT_THAT(Verify(),
              ElementsAre(HasSubstr("it is there 2 times"), HasSubstr("it is there 2 times")));
}

TEST_F(Maintenance, OfMuchDamageTheBeginningIsTold) {
  for (int i = 0; i < 150; ++i) MustApply(absl::StrCat("id-", i), Durability::kProcess);
  Run("UPDATE @.known_ids SET state = 77");
  EXPECT_EQ(Verify().size(), 100u);
}

TEST_F(Maintenance, WhatIsAskedToStopGivesUp) {
  MustFill();
  std::stop_source stop;
  stop.request_stop();
  EXPECT_THAT(store_->maintenance()->Verify(stop.get_token()).status(), Says(kCancelled, "verify"));
  EXPECT_THAT(store_->maintenance()->Compact(stop.get_token()), Says(kCancelled, "compact"));
}

TEST_F(Maintenance, ACompactionTakesAwayWhatWasDeleted) {
  MustFill();
  Run("INSERT INTO @.known_ids(scope, id, state, bucket) SELECT 5, int4send(n), 1, 1 FROM "
      "generate_series(1, 20000) n");
  const std::int64_t full = Figures().at("ids_bytes");
  Run("DELETE FROM @.known_ids WHERE scope = 5");
  // As long as anybody in the database has a snapshot from before, what was deleted stays.
  for (int i = 0; i < 100 && Figures().at("ids_bytes") >= full / 2; ++i) {
    const absl::Status compacted = store_->maintenance()->Compact(std::stop_token());
    ASSERT_TRUE(compacted.ok()) << compacted;
    absl::SleepFor(absl::Milliseconds(50));
  }
  EXPECT_LT(Figures().at("ids_bytes"), full / 2);
  EXPECT_TRUE(IsCompleted("id-7"));
}

TEST_F(Maintenance, ACopyIsRefusedWithTheWayOut) {
  EXPECT_THAT(
      store_->maintenance()->Backup("/nowhere", std::stop_token()),
      AllOf(Says(kFailedPrecondition, "pg_basebackup"), Says(kFailedPrecondition, "pg_dump")));
}

}  // namespace
}  // namespace once::postgres
