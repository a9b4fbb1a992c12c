// An outgoing message whose row is damaged, or gone: it is told as such, holds up no other, can be
// parked and given up.
#include <string>
#include <vector>

#include "adapters/sqlite/tests/store_scene.h"
#include "once/outgoing_log.h"
#include "once/transact.h"

namespace once::sqlite {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class SqliteOutgoingDamage : public StoreScene {
 protected:
  OutgoingLog& log() { return *transactions().outgoing(); }

  // A store of the messages "1", "2" and "3"; the second is then changed by `sql`.
  void Spoil(const std::string& sql) {
    MustOpen();
    for (const char* value : {"1", "2", "3"}) {
      const absl::Status published = Transact(*store_, [&](Transaction& transaction) {
        return transaction.Publish({.topic = "orders", .key = "k", .value = value});
      });
      ASSERT_TRUE(published.ok()) << published;
    }
    const std::vector<OutgoingRow> rows = Unplaced();
    ASSERT_THAT(rows, SizeIs(3));
    number_ = rows[1].number;
    store_.reset();
    const SqlResult spoiled =
        OwnConnection(path()).Run(absl::StrCat(sql, " WHERE number = ", number_));
    ASSERT_EQ(spoiled.code, SQLITE_OK) << spoiled.error;
    MustOpen();
  }
  std::vector<OutgoingRow> Unplaced() {
    auto rows = log().FindUnplaced(0, {.rows_max = 10, .bytes_max = 1'000'000});
    EXPECT_TRUE(rows.ok()) << rows.status();
    return rows.ok() ? *std::move(rows) : std::vector<OutgoingRow>();
  }
  static std::vector<std::string> ValuesOf(const std::vector<OutgoingRow>& rows) {
    std::vector<std::string> values;
    for (const OutgoingRow& row : rows) {
      values.push_back(row.damage.ok() ? row.message.value.value_or("null") : "damaged");
    }
    return values;
  }
  void Finish(const OutgoingRow& row) {
    OutgoingRound round{.epoch = 7, .placements = {{.number = row.number, .sequence = 1}}};
    ASSERT_TRUE(log().Advance({.placed = {&round, 1}}).ok());
    const OutgoingProgress::Finished finished{.lane = 0, .round = round.round};
    ASSERT_TRUE(log().Advance({.finished = {&finished, 1}}).ok());
  }
  void Park(const OutgoingRow& row) {
    const RefusedRow refused{.number = row.number, .reason = row.damage};
    const absl::Status parked = log().Advance({.refused = {&refused, 1}});
    ASSERT_TRUE(parked.ok()) << parked;
  }

  std::int64_t number_ = 0;
};

TEST_F(SqliteOutgoingDamage, IsNamedAndHoldsUpNoOther) {
  Spoil("UPDATE once_outgoing SET row = x'00'");
  const std::vector<OutgoingRow> rows = Unplaced();
  ASSERT_THAT(ValuesOf(rows), ElementsAre("1", "damaged", "3"));
  EXPECT_EQ(rows[1].number, number_);
  EXPECT_EQ(rows[1].damage.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(rows[1].damage.message()), HasSubstr(absl::StrCat("message ", number_)));
  EXPECT_THAT(std::string(rows[1].damage.message()), HasSubstr(path()));
  Park(rows[1]);
  std::vector<std::string> told;
  for (int i = 0; i < 2; ++i) {
    const std::vector<OutgoingRow> next = Unplaced();
    ASSERT_FALSE(next.empty());
    told.push_back(ValuesOf(next)[0]);
    Finish(next[0]);
  }
  EXPECT_THAT(told, ElementsAre("1", "3"));
  MustOpen();
  const auto parked = log().ListParked(0, 10);
  ASSERT_TRUE(parked.ok()) << parked.status();
  ASSERT_THAT(*parked, SizeIs(1));
  EXPECT_FALSE(parked->at(0).row.damage.ok());
  EXPECT_THAT(parked->at(0).reason, HasSubstr("damaged"));
  // A backup was restored, or somebody has mended it: it may be tried again.
  ASSERT_TRUE(log().Unpark(number_).ok());
  Park(rows[1]);
  ASSERT_TRUE(log().GiveUp(number_, "sent by hand").ok());
  EXPECT_EQ(log().Count().value().waiting, 0U);
  EXPECT_EQ(log().ListDiscarded(0, 10).value().at(0).reason, "sent by hand");
}

TEST_F(SqliteOutgoingDamage, AnUnfinishedRoundTellsItToo) {
  Spoil("UPDATE once_outgoing SET row = x'0102'");
  const std::vector<OutgoingRow> rows = Unplaced();
  OutgoingRound round{.epoch = 7};
  for (const OutgoingRow& row : rows) {
    round.placements.push_back(
        {.number = row.number, .partition = 0, .sequence = round.placements.size() + 1});
  }
  ASSERT_TRUE(log().Advance({.placed = {&round, 1}}).ok());
  MustOpen();
  const auto unfinished = log().FindUnfinished(0);
  ASSERT_TRUE(unfinished.ok()) << unfinished.status();
  ASSERT_THAT(*unfinished, SizeIs(1));
  EXPECT_THAT(ValuesOf(unfinished->at(0).rows), ElementsAre("1", "damaged", "3"));
}

TEST_F(SqliteOutgoingDamage, ARowThatIsGoneFromARoundIsToldAsSuch) {
  Spoil("UPDATE once_outgoing SET row = row");
  const std::vector<OutgoingRow> rows = Unplaced();
  OutgoingRound round{.epoch = 7};
  for (const OutgoingRow& row : rows) {
    round.placements.push_back(
        {.number = row.number, .partition = 0, .sequence = round.placements.size() + 1});
  }
  ASSERT_TRUE(log().Advance({.placed = {&round, 1}}).ok());
  store_.reset();
  ASSERT_EQ(OwnConnection(path())
                .Run(absl::StrCat("DELETE FROM once_outgoing WHERE number = ", number_))
                .code,
            SQLITE_OK);
  MustOpen();
  const auto unfinished = log().FindUnfinished(0);
  ASSERT_TRUE(unfinished.ok()) << unfinished.status();
  EXPECT_THAT(ValuesOf(unfinished->at(0).rows), ElementsAre("1", "damaged", "3"));
}

TEST_F(SqliteOutgoingDamage, TheAgeOfTheOthersIsStillKnown) {
  Spoil("UPDATE once_outgoing SET row = row");
  store_.reset();
  ASSERT_EQ(OwnConnection(path()).Run("UPDATE once_outgoing SET row = x'00' WHERE number = 1").code,
            SQLITE_OK);
  MustOpen();
  const absl::StatusOr<OutgoingCounts> counts = log().Count();
  ASSERT_TRUE(counts.ok()) << counts.status();
  EXPECT_EQ(counts->waiting, 3U);
  EXPECT_GT(counts->oldest, absl::UnixEpoch());
  EXPECT_LT(counts->oldest, absl::InfiniteFuture());
}

}  // namespace
}  // namespace once::sqlite
