// A file of format 1 with rows in every table, opened by this version: everything is found, nothing
// is republished, and the row of an id is as small as it was.
#include <filesystem>

#include "adapters/sqlite/schema.h"
#include "adapters/sqlite/tests/store_scene.h"
#include "src/stores/outbox_codec.h"

namespace once::sqlite {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

std::string Hex(const std::string& bytes) {
  std::string hex = "x'";
  for (const char byte : bytes) {
    absl::StrAppend(&hex, absl::Hex(static_cast<unsigned char>(byte), absl::kZeroPad2));
  }
  return hex + "'";
}

OutboxOrigin OriginAt(std::int64_t offset, std::int32_t ordinal = 0) {
  return {.key = Orders(), .offset = offset, .timestamp_ms = 5, .ordinal = ordinal};
}

class SqliteMigration : public StoreScene {
 protected:
  // What the version of format 1 wrote, by its own SQL.
  void MakeFormat1(const std::string& rows) {
    OwnConnection connection(path(), SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    ASSERT_EQ(Migrations()[0].version, 1);
    const SqlResult made =
        connection.Run(absl::StrCat("BEGIN;", Migrations()[0].sql,
                                    "INSERT INTO once_meta VALUES('format', 1), "
                                    "('store', '0123456789abcdef0123456789abcdef'), ('opened', 7);"
                                    "CREATE TABLE effects(row TEXT);",
                                    rows, "COMMIT; PRAGMA journal_mode = WAL"));
    ASSERT_EQ(made.code, SQLITE_OK) << made.error;
  }

  static std::string Row(const OutboxOrigin& origin, int state, const std::string& payload) {
    return absl::StrCat("INSERT INTO once_outbox(origin, state, payload, reason) VALUES(",
                        Hex(stores::EncodeOrigin(origin)), ", ", state, ", ",
                        payload.empty() ? "NULL" : Hex(payload), ", ",
                        state == 2 ? "'INVALID_ARGUMENT: too large'" : "NULL", ");");
  }

  static std::string Payload(const std::string& value) {
    return stores::EncodeMessage({.topic = "orders.dlq", .value = value});
  }
};

TEST_F(SqliteMigration, EverythingOfAFileOfFormat1IsFound) {
  MakeFormat1(absl::StrCat(
      "INSERT INTO once_positions VALUES(x'636c7573746572', x'67726f7570', x'6f7264657273', 0, "
      "41, 9, 77);"
      "INSERT INTO once_scopes VALUES(1, x'73636f7065');"  // "scope"
      "INSERT INTO once_ids VALUES(1, x'61', 1, 3, 4, NULL, NULL, NULL);"
      "INSERT INTO once_ids VALUES(1, x'62', 2, NULL, NULL, 2, 1000000, 2000000);"
      "INSERT INTO once_ids VALUES(1, x'63', 3, NULL, NULL, 5, 1000000, NULL);"
      "INSERT INTO effects VALUES('effect');",
      Row(OriginAt(1), 1, ""), Row(OriginAt(2), 0, Payload("pending")),
      Row(OriginAt(3), 2, Payload("parked")), Row(OriginAt(4, 1), 0, Payload("of a handler"))));
  MustOpen();

  EXPECT_EQ(store_->traits().id, "0123456789abcdef0123456789abcdef");
  EXPECT_EQ(store_->traits().open_count, 8u);
  EXPECT_THAT(Effects(), ElementsAre("effect"));
  const auto positions = store_->operations()->ListPositions();
  ASSERT_TRUE(positions.ok()) << positions.status();
  ASSERT_THAT(*positions, SizeIs(1));
  EXPECT_EQ(positions->front().key, Orders());
  EXPECT_EQ(positions->front().stamp, (PositionStamp{41, 9, 77}));
  EXPECT_EQ(positions->front().reach, 41) << "nothing says that the former end was unclean";
  EXPECT_EQ(positions->front().last_applied, std::nullopt);
  EXPECT_EQ(positions->front().directive, PositionDirective::kNone);

  const IdKey keys[] = {{"scope", "a"}, {"scope", "b"}, {"scope", "c"}, {"scope", "d"}};
  IdRecord records[4];
  ASSERT_TRUE(Begin()->FindIds(keys, records).ok());
  EXPECT_EQ(records[0], (IdRecord{.state = IdState::kCompleted, .fingerprint = {3, 4}}));
  EXPECT_EQ(records[1], (IdRecord{.state = IdState::kRetrying,
                                  .attempt = 2,
                                  .first_failed_at = absl::FromUnixSeconds(1),
                                  .not_before = absl::FromUnixSeconds(2)}));
  EXPECT_EQ(records[2].state, IdState::kDead);
  EXPECT_EQ(records[3], IdRecord{});
}

TEST_F(SqliteMigration, ItsOutboxIsPublishedOnceAndItsLettersAreKept) {
  MakeFormat1(absl::StrCat(Row(OriginAt(1), 1, ""), Row(OriginAt(2), 0, Payload("pending")),
                           Row(OriginAt(3), 2, Payload("parked")),
                           Row(OriginAt(4, 1), 0, Payload("of a handler"))));
  MustOpen();
  Outbox& outbox = transactions().outbox();
  const auto pending = outbox.FindPending(10);
  ASSERT_TRUE(pending.ok()) << pending.status();
  ASSERT_THAT(*pending, SizeIs(2));
  EXPECT_EQ(pending->front().message.value, "pending");
  EXPECT_EQ(pending->back().message.value, "of a handler");
  const std::int64_t sequences[] = {pending->front().sequence, pending->back().sequence};
  ASSERT_TRUE(outbox.MarkPublished(sequences).ok());

  const auto failures = store_->operations()->FindFailures({});
  ASSERT_TRUE(failures.ok()) << failures.status();
  ASSERT_THAT(*failures, SizeIs(2));
  EXPECT_EQ(failures->front().letter.value, "pending");
  EXPECT_EQ(failures->front().origin, OriginAt(2));
  EXPECT_TRUE(failures->front().is_published);
  EXPECT_EQ(failures->back().letter.value, "parked");
  EXPECT_THAT(failures->back().parked_reason, HasSubstr("too large"));
  for (const StoredFailure& failure : *failures) {
    EXPECT_EQ(failure.id, "") << "format 1 did not say whose letter it is";
    EXPECT_TRUE(store_->operations()->DropLetter(failure.number).ok());
  }
  EXPECT_THAT(*store_->operations()->FindFailures({}), IsEmpty());

  // Origins stay taken.
  const auto transaction = Begin();
  for (const std::int64_t offset : {1, 2, 3}) {
    const OutboxRow row{.origin = OriginAt(offset), .message = {.topic = "orders.dlq"}};
    ASSERT_TRUE(transaction->PutOutgoing({&row, 1}).ok());
  }
  ASSERT_TRUE(transaction->Commit(Durability::kMachine).ok());
  EXPECT_EQ(outbox.CountPending().value(), 0u);
}

TEST_F(SqliteMigration, ItsIdsMayBeClaimedAndItsPositionTaken) {
  MakeFormat1(
      "INSERT INTO once_positions VALUES(x'636c7573746572', x'67726f7570', x'6f7264657273', 0, "
      "41, 9, 77);"
      "INSERT INTO once_scopes VALUES(1, x'73636f7065');"
      "INSERT INTO once_ids VALUES(1, x'61', 1, NULL, NULL, NULL, NULL, NULL);"
      "INSERT INTO once_ids VALUES(1, x'62', 2, NULL, NULL, 2, 1000000, NULL);");
  MustOpen();
  const TakeRequest take{.key = Orders(), .writer = 78};
  const auto taken = transactions().Take({&take, 1});
  ASSERT_TRUE(taken.ok()) << taken.status();
  EXPECT_EQ(taken->front().current, (PositionStamp{41, 10, 78}));
  EXPECT_EQ(taken->front().reach, 41);

  ClaimStore& claims = *store_->claims();
  const ClaimRequest requests[] = {{.key = {"scope", "a"}, .fence = claims.NewFence()},
                                   {.key = {"scope", "b"}, .fence = claims.NewFence()}};
  ClaimResult results[2];
  ASSERT_TRUE(claims.TryClaim(requests, absl::Minutes(1), results).ok());
  EXPECT_EQ(results[0].verdict, ClaimVerdict::kDuplicate);
  EXPECT_EQ(results[1].verdict, ClaimVerdict::kFresh);
  EXPECT_EQ(results[1].attempt, 3);
}

TEST_F(SqliteMigration, OfARowOfFormat2NobodyKnowsTheLogTime) {
  MakeFormat1(absl::StrCat(Migrations()[1].sql,
                           "UPDATE once_meta SET value = 2 WHERE key = 'format';"
                           "INSERT INTO once_positions VALUES(x'636c7573746572', x'67726f7570', "
                           "x'6f7264657273', 0, 41, 9, 77, 41, 40, 1600000000000, 1, 2, NULL);"));
  MustOpen();
  const auto positions = store_->operations()->ListPositions();
  ASSERT_TRUE(positions.ok()) << positions.status();
  ASSERT_THAT(*positions, SizeIs(1));
  EXPECT_EQ(positions->front().last_applied, (AppliedRecord{.offset = 40,
                                                            .timestamp_ms = 1'600'000'000'000,
                                                            .fingerprint = {1, 2},
                                                            .log_time_ms = -1}));
}

// Ids are what a store consists of: a hundred bytes more for each of a million would be felt.
TEST_F(SqliteMigration, TheRowOfAnIdIsAsSmallAsInFormat1) {
  constexpr std::uintmax_t kPageBytes = 4096;
  constexpr std::uintmax_t kNewTablesAndIndexes = 4;
  constexpr std::uintmax_t kSchemaPages = 2;
  std::string rows =
      "INSERT INTO once_scopes VALUES(1, x'73636f7065');"
      "INSERT INTO once_ids SELECT 1, CAST('a rather long message id ' || (value + 10000) AS BLOB),"
      " 1, 81985529216486895, 81985529216486895, NULL, NULL, NULL FROM generate;";
  MakeFormat1(
      "CREATE TEMP TABLE generate AS WITH RECURSIVE n(value) AS (SELECT 0 UNION ALL SELECT "
      "value + 1 FROM n LIMIT 20000) SELECT value FROM n;" +
      rows);
  const std::uintmax_t before = std::filesystem::file_size(path());

  MustOpen(OptionsFor(folder_.File("new.db")));
  const auto transaction = Begin();
  for (int i = 0; i < 20'000; ++i) {
    const std::string id = absl::StrCat("a rather long message id ", i + 10'000);
    const IdWrite write{.key = {"scope", id},
                        .record = {.state = IdState::kCompleted,
                                   .fingerprint = {81985529216486895, 81985529216486895}}};
    ASSERT_TRUE(transaction->PutIds({&write, 1}).ok());
  }
  ASSERT_TRUE(transaction->Commit(Durability::kMachine).ok());
  store_.reset();
  EXPECT_LE(std::filesystem::file_size(folder_.File("new.db")),
            before + (kNewTablesAndIndexes + kSchemaPages) * kPageBytes);
}

}  // namespace
}  // namespace once::sqlite
