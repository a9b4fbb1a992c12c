// Files of earlier formats with rows in every table, opened by this version: everything is found,
// nothing is republished, and whatever fails on the way leaves one of the two.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/str_format.h"
#include "adapters/sqlite/schema.h"
#include "adapters/sqlite/tests/sync_scene.h"
#include "src/stores/outbox_codec.h"
#include "tests/store_figures.h"

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

// What is moved gets checksums: a damaged row must not get one.
TEST_F(SqliteMigration, IdsOutOfOrderAreNotMoved) {
  MakeFormat1(
      "INSERT INTO once_scopes VALUES(1, x'73636f7065');"
      "INSERT INTO once_ids VALUES(1, CAST('id-one' AS BLOB), 1, 3, 4, NULL, NULL, NULL), "
      "(1, CAST('id-two' AS BLOB), 1, 3, 4, NULL, NULL, NULL);");
  { OwnConnection(path(), SQLITE_OPEN_READWRITE).Run("PRAGMA wal_checkpoint(TRUNCATE)"); }
  std::stringstream whole;
  whole << std::ifstream(path(), std::ios::binary).rdbuf();
  std::string file = whole.str();
  const std::size_t at = file.find("id-one");
  ASSERT_NE(at, std::string::npos);
  file.replace(at, 6, "zz-one");
  std::ofstream(path(), std::ios::binary) << file;
  EXPECT_EQ(OpenStore(OptionsFor(path())).status().code(), absl::StatusCode::kDataLoss);
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

// ---- Rows of ids that become a log ----

class SqliteMovedIds : public SqliteMigration {
 protected:
  static constexpr int kIds = 3000;

  // What the version of format 2 wrote: ids in every state, and claims.
  void MakeFormat2(int ids) {
    OwnConnection connection(path(), SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    ASSERT_EQ(Migrations()[1].version, 2);
    const SqlResult made = connection.Run(absl::StrCat(
        "BEGIN;", Migrations()[0].sql, Migrations()[1].sql,
        "INSERT INTO once_meta VALUES('format', 2), "
        "('store', '0123456789abcdef0123456789abcdef'), ('opened', 7);"
        "CREATE TABLE effects(row TEXT);"
        "INSERT INTO once_scopes VALUES(1, x'73636f7065'), (2, x'6f74686572');"  // scope, other
        "INSERT INTO once_ids SELECT 1 + value % 2, CAST(printf('id-%06d', value) AS BLOB), 1, "
        "value, value + 1, value % 3, NULL, NULL FROM (WITH RECURSIVE n(value) AS (SELECT 0 UNION "
        "ALL SELECT value + 1 FROM n LIMIT ",
        ids,
        ") SELECT value FROM n);"
        "INSERT INTO once_ids VALUES(1, x'72', 2, NULL, NULL, 2, 1000000, 2000000);"
        "INSERT INTO once_ids VALUES(1, x'64', 3, 3, 4, 5, 1000000, NULL);"
        "INSERT INTO once_ids VALUES(1, x'79', 7, NULL, NULL, 1, NULL, NULL);"
        "INSERT INTO once_claims VALUES(1, x'79', 5, 6, 1000000, 1, 0, 2, 8, 9);"
        "INSERT INTO once_claims VALUES(1, x'62', 5, 7, 1000000, 1, 0, NULL, NULL, NULL);"
        "INSERT INTO once_results VALUES(1, CAST('id-000000' AS BLOB), x'726573756c74');"
        "COMMIT; PRAGMA journal_mode = WAL"));
    ASSERT_EQ(made.code, SQLITE_OK) << made.error;
  }

  IdRecord Find(std::string_view scope, std::string_view id) {
    const IdKey key{scope, id};
    IdRecord record;
    const absl::Status found = Begin()->FindIds({&key, 1}, {&record, 1});
    EXPECT_TRUE(found.ok()) << found;
    return record;
  }

  void ExpectAllMoved(int ids) {
    for (int i = 0; i < ids; i += std::max(1, ids / 1000)) {
      const auto print = static_cast<std::uint64_t>(i);
      const std::string id = absl::StrFormat("id-%06d", i);
      ASSERT_EQ(
          Find(i % 2 == 0 ? "scope" : "other", id),
          (IdRecord{
              .state = IdState::kCompleted, .fingerprint = {print, print + 1}, .attempt = i % 3}))
          << id;
      ASSERT_EQ(Find(i % 2 == 0 ? "other" : "scope", id), IdRecord{}) << id;
    }
    EXPECT_EQ(Find("scope", "r"), (IdRecord{.state = IdState::kRetrying,
                                            .attempt = 2,
                                            .first_failed_at = absl::FromUnixSeconds(1),
                                            .not_before = absl::FromUnixSeconds(2)}));
    EXPECT_EQ(Find("scope", "d"), (IdRecord{.state = IdState::kDead,
                                            .fingerprint = {3, 4},
                                            .attempt = 5,
                                            .first_failed_at = absl::FromUnixSeconds(1)}));
    EXPECT_EQ(Find("scope", "y").state, IdState::kDying);
    EXPECT_EQ(Find("scope", "b").state, IdState::kRetrying) << "its handler had begun";
    EXPECT_EQ(Find("scope", "b").attempt, 1);
    EXPECT_EQ(once::testing::FiguresOf(*store_->maintenance()).at("ids_count"), ids + 4);
    ClaimStore& claims = *store_->claims();
    const ClaimRequest requests[] = {{.key = {"scope", "id-000000"}, .fence = claims.NewFence()},
                                     {.key = {"scope", "y"}, .fence = claims.NewFence()}};
    ClaimResult results[2];
    ASSERT_TRUE(claims.TryClaim(requests, absl::Minutes(1), results).ok());
    EXPECT_EQ(results[0].verdict, ClaimVerdict::kDuplicate);
    EXPECT_EQ(results[0].result, "result");
    EXPECT_EQ(results[1].verdict, ClaimVerdict::kPublish);
    EXPECT_EQ(results[1].disposition, static_cast<Disposition>(2));
  }

  StoreOptions Patient(const std::string& path) {
    StoreOptions options = OptionsFor(path);
    options.busy_timeout = absl::Seconds(10);
    options.serve_operators = false;
    return options;
  }
};

TEST_F(SqliteMovedIds, AreAllThereInTheStateTheyWereIn) {
  MakeFormat2(kIds);
  for (int opening = 0; opening < 2; ++opening) {
    MustOpen(Patient(path()));
    ExpectAllMoved(kIds);
  }
  EXPECT_NE(OwnConnection(path()).Run("SELECT * FROM once_ids").code, SQLITE_OK);
  EXPECT_NE(OwnConnection(path()).Run("SELECT * FROM once_claims").code, SQLITE_OK);
  EXPECT_THAT(*store_->maintenance()->Verify({}), IsEmpty());
}

TEST_F(SqliteMovedIds, AreSealedOnTheWayWhereTheyAreMany) {
  constexpr int kMany = 800'000;
  MakeFormat2(kMany);
  StoreOptions options = Patient(path());
  options.recent_ids_bytes = 1 << 20;
  MustOpen(options);
  EXPECT_GT(once::testing::FiguresOf(*store_->maintenance()).at("runs_count"), 0);
  ExpectAllMoved(kMany);
}

TEST_F(SqliteMovedIds, AreRefusedAndLeftAloneWhereARowWasNeverWritten) {
  for (const char* damage :
       {"UPDATE once_ids SET state = 77 WHERE id = x'72'",
        "DELETE FROM once_scopes WHERE scope = 2", "UPDATE once_ids SET id = x'' WHERE id = x'72'",
        "UPDATE once_claims SET disposition = 99 WHERE id = x'79'"}) {
    SCOPED_TRACE(damage);
    std::filesystem::remove(path());
    MakeFormat2(10);
    ASSERT_EQ(OwnConnection(path()).Run(damage).code, SQLITE_OK);
    EXPECT_THAT(Open(Patient(path())), Says(absl::StatusCode::kDataLoss, "restore a backup"));
    OwnConnection connection(path());
    EXPECT_THAT(connection.Run("SELECT count(*) FROM once_ids").rows, ElementsAre("13"));
    EXPECT_THAT(connection.Run("SELECT value FROM once_meta WHERE key = 'format'").rows,
                ElementsAre("2"));
  }
}

// The old store, or the new one, whole: after an error, after the death of the process in its
// place, and after a power failure.
TEST_F(SqliteMovedIds, AreMovedAtOnceWhateverFails) {
  MakeFormat2(kIds);
  const std::string before = ReadFile(path());
  FaultVfs vfs;
  vfs.KeepSynced();
  int copies = 0;
  const auto make = [&](const std::string& database, const std::string& wal) {
    const std::string copy = folder_.File(absl::StrCat("copy", ++copies, ".db"));
    for (const auto& [name, content] : {std::pair(copy, database), std::pair(copy + "-wal", wal)}) {
      std::ofstream(name, std::ios::binary) << content;
      vfs.NoteWritten(name, 0, content.size());
      vfs.NoteSynced(name, content);
    }
    return copy;
  };
  for (const Fault fault :
       {Fault::kWriteError, Fault::kTornWrite, Fault::kDiskFull, Fault::kSyncError}) {
    bool has_fired = true;
    int failed = 0;
    for (int nth = 1; has_fired; nth += 1 + nth / 4) {
      SCOPED_TRACE(absl::StrCat("fault ", static_cast<int>(fault), ", operation ", nth));
      const std::string copy = make(before, "");
      vfs.Arm(fault, "-wal", nth, /*is_lasting=*/true);
      failed += Open(Patient(copy)).ok() ? 0 : 1;
      has_fired = vfs.has_fired();
      vfs.Disarm();
      const std::string died = make(ReadFile(copy), ReadFile(copy + "-wal"));
      const std::string cut = make(vfs.Synced(copy), vfs.Synced(copy + "-wal"));
      for (const std::string& left : {copy, died, cut}) {
        MustOpen(Patient(left));
        ExpectAllMoved(kIds);
      }
      store_.reset();
    }
    EXPECT_GT(failed, 0);
  }
}

}  // namespace
}  // namespace once::sqlite
