// The suite of logs of outgoing messages: its vocabulary, publishing, and rounds.
#include "once/testing/outgoing_conformance.h"

#include <algorithm>
#include <limits>
#include <stdexcept>

#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "once/transact.h"
#include "src/testing/store_words.h"

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(OutgoingLogConformance);

namespace once::testing {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

bool LinkOutgoingSuite() { return LinkOutgoingParkingSuite(); }

void OutgoingLogConformance::SetUp() {
  fixture_ = GetParam().make();
  ASSERT_NE(fixture_, nullptr);
  ASSERT_NE(fixture_->outgoing(), nullptr) << "the store has no such log";
}

OutgoingLog& OutgoingLogConformance::log() { return *fixture_->outgoing(); }

OutgoingMessage OutgoingLogConformance::Message(std::string_view value,
                                                std::optional<std::string> key) {
  return {.topic = "orders", .key = std::move(key), .value = std::string(value)};
}

void OutgoingLogConformance::Publish(const std::vector<OutgoingMessage>& messages) {
  for (const OutgoingMessage& message : messages) published_.push_back(message.value.value_or(""));
  if (!capabilities().why_no_transactions.empty()) {
    const absl::Status appended = fixture_->AppendOutgoing(messages);
    EXPECT_TRUE(appended.ok()) << appended;
    return;
  }
  const absl::Status published =
      Transact(fixture_->store(), [&](Transaction& transaction) -> absl::Status {
        for (const OutgoingMessage& message : messages) {
          if (absl::Status put = transaction.Publish(message); !put.ok()) return put;
        }
        return absl::OkStatus();
      });
  EXPECT_TRUE(published.ok()) << published;
}

std::unique_ptr<StoreTransaction> OutgoingLogConformance::Begin() {
  auto begun = fixture_->store().transactions()->Begin({});
  if (!begun.ok()) {
    ADD_FAILURE() << "begin: " << begun.status();
    return nullptr;
  }
  EXPECT_NE(begun->transaction, nullptr);
  return std::move(begun->transaction);
}

std::vector<OutgoingRow> OutgoingLogConformance::Unplaced(std::size_t rows_max) {
  std::vector<OutgoingRow> rows;
  const auto lanes = log().HoldLanes();
  EXPECT_TRUE(lanes.ok()) << lanes.status();
  if (!lanes.ok()) return rows;
  for (const int lane : *lanes) {
    auto found = log().FindUnplaced(lane, {.rows_max = rows_max, .bytes_max = 1'000'000});
    EXPECT_TRUE(found.ok()) << found.status();
    if (!found.ok()) continue;
    EXPECT_LE(found->size(), rows_max);
    EXPECT_TRUE(std::is_sorted(
        found->begin(), found->end(),
        [](const OutgoingRow& a, const OutgoingRow& b) { return a.number < b.number; }))
        << "of a lane, rows are told by their numbers";
    for (OutgoingRow& row : *found) {
      lanes_[row.number] = lane;
      rows.push_back(std::move(row));
    }
  }
  const auto place = [this](const OutgoingRow& row) {
    return std::find(published_.begin(), published_.end(), row.message.value.value_or("")) -
           published_.begin();
  };
  std::stable_sort(rows.begin(), rows.end(),
                   [&](const OutgoingRow& a, const OutgoingRow& b) { return place(a) < place(b); });
  rows.resize(std::min(rows.size(), rows_max));
  return rows;
}

int OutgoingLogConformance::LaneOf(const OutgoingRow& row) {
  const auto found = lanes_.find(row.number);
  EXPECT_TRUE(found != lanes_.end()) << "no lane has told row " << row.number;
  return found == lanes_.end() ? 0 : found->second;
}

std::vector<std::string> OutgoingLogConformance::UnplacedValues(std::size_t rows_max) {
  std::vector<std::string> values;
  for (const OutgoingRow& row : Unplaced(rows_max)) {
    values.push_back(row.message.value.value_or("(null)"));
  }
  return values;
}

std::vector<UnfinishedRound> OutgoingLogConformance::Unfinished() {
  std::vector<UnfinishedRound> rounds;
  const auto lanes = log().HoldLanes();
  EXPECT_TRUE(lanes.ok()) << lanes.status();
  if (!lanes.ok()) return rounds;
  for (const int lane : *lanes) {
    auto found = log().FindUnfinished(lane);
    EXPECT_TRUE(found.ok()) << found.status();
    if (found.ok()) rounds.insert(rounds.end(), found->begin(), found->end());
  }
  return rounds;
}

void OutgoingLogConformance::Advance(const OutgoingProgress& progress) {
  const absl::Status advanced = log().Advance(progress);
  EXPECT_TRUE(advanced.ok()) << advanced;
}

OutgoingRound OutgoingLogConformance::Place(std::span<const OutgoingRow> rows,
                                            std::uint64_t sequence, std::uint64_t epoch) {
  OutgoingRound round{.epoch = epoch};
  if (!rows.empty()) round.lane = LaneOf(rows.front());
  for (const OutgoingRow& row : rows) {
    EXPECT_EQ(LaneOf(row), round.lane);
    round.placements.push_back({.number = row.number, .partition = 3, .sequence = sequence++});
  }
  Advance({.placed = {&round, 1}});
  return round;
}

void OutgoingLogConformance::Finish(const OutgoingRound& round) {
  const OutgoingProgress::Finished finished{.lane = round.lane, .round = round.round};
  Advance({.finished = {&finished, 1}});
}

void OutgoingLogConformance::Park(const OutgoingRow& row) {
  const RefusedRow refused{.number = row.number, .reason = absl::InvalidArgumentError("too large")};
  Advance({.refused = {&refused, 1}});
}

namespace {

TEST_P(OutgoingLogConformance, MessagesComeInTheOrderOfCommitsAndOfCalls) {
  Publish({Message("1", "k"), Message("2", "k")});
  Publish({Message("3", "k")});
  const std::vector<OutgoingRow> rows = Unplaced();
  ASSERT_THAT(rows, SizeIs(3));
  EXPECT_LT(rows[0].number, rows[1].number);
  EXPECT_LT(rows[1].number, rows[2].number);
  EXPECT_THAT(UnplacedValues(), ElementsAre("1", "2", "3")) << "told again";
  EXPECT_THAT(UnplacedValues(2), ElementsAre("1", "2"));
}

TEST_P(OutgoingLogConformance, AtLeastOneMessageIsToldWhateverItsSize) {
  Publish({Message(std::string(1000, 'a')), Message("small")});
  const std::vector<OutgoingRow> all = Unplaced();
  ASSERT_THAT(all, SizeIs(2));
  const auto rows = log().FindUnplaced(LaneOf(all[0]), {.rows_max = 10, .bytes_max = 100});
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_THAT(*rows, SizeIs(1));
}

TEST_P(OutgoingLogConformance, MessagesComeBackAsTheyWere) {
  std::string binary;
  for (int byte = 255; byte >= 0; --byte) binary.push_back(static_cast<char>(byte));
  const std::vector<OutgoingMessage> messages = {
      {.topic = "t"},
      {.topic = "t", .partition = 0, .key = "", .value = "", .headers = {}},
      {.topic = std::string(249, 't'),
       .partition = std::numeric_limits<std::int32_t>::max(),
       .key = binary,
       .value = binary,
       .headers = {{"", std::nullopt}, {"name", ""}, {"name", binary}}},
      {.topic = "t", .value = std::string(1'000'000, 'v')}};
  for (const OutgoingMessage& message : messages) {
    Publish({message});
    const std::vector<OutgoingRow> rows = Unplaced();
    ASSERT_THAT(rows, SizeIs(1));
    EXPECT_EQ(rows[0].message, message);
    EXPECT_GT(rows[0].put_at, absl::UnixEpoch());
    Finish(Place(rows));
  }
}

TEST_P(OutgoingLogConformance, NothingIsLeftOfATransactionThatRolledBack) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_transactions);
  const absl::Status failed = Transact(fixture().store(), [&](Transaction& transaction) {
    EXPECT_TRUE(transaction.Publish(Message("lost")).ok());
    return absl::AbortedError("changed my mind");
  });
  EXPECT_EQ(failed, absl::AbortedError("changed my mind"));
  EXPECT_THAT(Unplaced(), IsEmpty());
  EXPECT_EQ(log().Count().value().waiting, 0u);
  Publish({Message("kept")});
  EXPECT_THAT(UnplacedValues(), ElementsAre("kept"));
  EXPECT_EQ(log().Count().value().waiting, 1u);
}

TEST_P(OutgoingLogConformance, NothingIsSeenOfATransactionThatIsOpen) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_transactions);
  auto transaction = Begin();
  ASSERT_NE(transaction, nullptr);
  ASSERT_TRUE(transaction->Publish(Message("open")).ok());
  EXPECT_THAT(Unplaced(), IsEmpty());
  ASSERT_TRUE(transaction->Commit(Durability::kMachine).ok());
  EXPECT_THAT(UnplacedValues(), ElementsAre("open"));
}

TEST_P(OutgoingLogConformance, ASavepointTakesBackWhatWasPublishedSince) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_transactions);
  auto transaction = Begin();
  ASSERT_NE(transaction, nullptr);
  ASSERT_TRUE(transaction->Publish(Message("before")).ok());
  ASSERT_TRUE(transaction->SetSavepoint().ok());
  ASSERT_TRUE(transaction->Publish(Message("gone")).ok());
  ASSERT_TRUE(transaction->RollbackToSavepoint().ok());
  ASSERT_TRUE(transaction->Publish(Message("after")).ok());
  ASSERT_TRUE(transaction->Commit(Durability::kMachine).ok());
  EXPECT_THAT(UnplacedValues(), ElementsAre("before", "after"));
  EXPECT_EQ(log().Count().value().waiting, 2u);
}

TEST_P(OutgoingLogConformance, ABadMessageIsRefusedAndTheTransactionGoesOn) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_transactions);
  const absl::Status done = Transact(fixture().store(), [&](Transaction& transaction) {
    EXPECT_EQ(transaction.Publish({.topic = ""}).code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(transaction.Publish({.topic = "a/b"}).code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(transaction.Publish({.topic = "orders.once-marks"}).code(),
              absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(transaction.Publish({.topic = "t", .partition = -1}).code(),
              absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(transaction.Publish({.topic = "t", .headers = {{"once-seq", "1"}}}).code(),
              absl::StatusCode::kInvalidArgument);
    return transaction.Publish(Message("good"));
  });
  EXPECT_TRUE(done.ok()) << done;
  EXPECT_THAT(UnplacedValues(), ElementsAre("good"));
}

TEST_P(OutgoingLogConformance, NothingIsCommittedWhenTheBodyThrows) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_transactions);
  const absl::Status threw =
      Transact(fixture().store(), [&](Transaction& transaction) -> absl::Status {
        EXPECT_TRUE(transaction.Publish(Message("lost")).ok());
        throw std::runtime_error("no more");
      });
  EXPECT_EQ(threw.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(threw.message()), ::testing::HasSubstr("no more"));
  EXPECT_THAT(Unplaced(), IsEmpty());
}

TEST_P(OutgoingLogConformance, PlacedRowsAreNotToldAgain) {
  Publish({Message("1", "a"), Message("2", "a"), Message("3", "a")});
  const OutgoingRound round = Place(Unplaced(2));
  EXPECT_THAT(UnplacedValues(), ElementsAre("3"));
  EXPECT_EQ(log().Count().value().waiting, 3u);
  Finish(round);
  EXPECT_THAT(UnplacedValues(), ElementsAre("3"));
  EXPECT_EQ(log().Count().value().waiting, 1u);
  EXPECT_THAT(Unfinished(), IsEmpty());
}

TEST_P(OutgoingLogConformance, RowsThatWereLeftOutOfARoundAreToldFirst) {
  Publish({Message("1"), Message("2"), Message("3"), Message("4")});
  const std::vector<OutgoingRow> rows = Unplaced();
  const OutgoingRow placed[] = {rows[1], rows[2]};
  Finish(Place(placed));
  EXPECT_EQ(log().Count().value().waiting, 2u);
  std::vector<std::string> told;
  for (int i = 0; i < 2; ++i) {
    const std::vector<OutgoingRow> next = Unplaced(1);
    ASSERT_THAT(next, SizeIs(1));
    told.push_back(*next[0].message.value);
    Finish(Place(next));
  }
  EXPECT_THAT(told, ElementsAre("1", "4"));
  EXPECT_THAT(Unplaced(), IsEmpty());
}

TEST_P(OutgoingLogConformance, UnfinishedRoundsAreToldOldestFirst) {
  Publish({Message("1"), Message("2"), Message("3")});
  const OutgoingRound first = Place(Unplaced(2));
  const OutgoingRound second = Place(Unplaced(1), 3);
  EXPECT_LT(first.round, second.round);
  const std::vector<UnfinishedRound> found = Unfinished();
  ASSERT_THAT(found, SizeIs(2));
  EXPECT_EQ(found[0].round.round, first.round);
  EXPECT_EQ(found[0].round.placements, first.placements);
  ASSERT_THAT(found[0].rows, SizeIs(2));
  EXPECT_EQ(found[0].rows[1].message.value, "2");
  EXPECT_EQ(found[1].round.placements, second.placements);
}

TEST_P(OutgoingLogConformance, EverythingIsFoundAgainAfterReopening) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_reopen);
  const std::string producer = log().producer_id();
  Publish({Message("1", "k"), Message("2", "k"), Message("3", "parked"), Message("4")});
  const std::vector<OutgoingRow> rows = Unplaced();
  const OutgoingRound round = Place(std::span(rows).first(2), 41, 0xffff'ffff'ffff'ffff);
  Park(rows[2]);
  const StreamProgress stream{.epoch = 0xffff'ffff'ffff'ffff,
                              .topic = "orders",
                              .partition = 3,
                              .last = 42,
                              .first_offset = 5,
                              .last_offset = 6};
  const OwedVoid owed{.epoch = 9, .topic = "orders", .partition = 1, .sequence = 8};
  Advance({.owed = {&owed, 1}, .streams = {&stream, 1}});
  ASSERT_TRUE(fixture().Reopen().ok());
  EXPECT_EQ(log().producer_id(), producer);
  const std::vector<UnfinishedRound> found = Unfinished();
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(found[0].round.round, round.round);
  EXPECT_EQ(found[0].round.epoch, round.epoch);
  EXPECT_EQ(found[0].round.placements, round.placements);
  EXPECT_THAT(UnplacedValues(), ElementsAre("4"));
  EXPECT_EQ(log().Count().value().waiting, 4u);
  EXPECT_EQ(log().Count().value().parked, 1u);
  EXPECT_EQ(log().ListParked(0, 10).value().at(0).row.message.value, "3");
  EXPECT_THAT(log().ListStreams().value(), ElementsAre(stream));
  EXPECT_THAT(log().ListOwed().value(), ElementsAre(owed));
}

TEST_P(OutgoingLogConformance, PlacedRoundsSurviveTheDeathOfTheProcess) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_crash);
  Publish({Message("1", "k"), Message("2", "k")});
  const OutgoingRound round = Place(Unplaced(1), 17);
  ASSERT_TRUE(fixture().Crash().ok());
  const std::vector<UnfinishedRound> found = Unfinished();
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(found[0].round.placements, round.placements);
  EXPECT_THAT(UnplacedValues(), ElementsAre("2"));
}

TEST_P(OutgoingLogConformance, ANumberNeverNamesTwoRows) {
  Publish({Message("1", "k"), Message("2", "k")});
  const std::vector<OutgoingRow> rows = Unplaced();
  ASSERT_THAT(rows, SizeIs(2));
  const OutgoingRound round = Place(rows);
  Finish(round);
  if (capabilities().why_no_reopen.empty()) {
    ASSERT_TRUE(fixture().Reopen().ok());
  }
  EXPECT_EQ(log().Count().value().waiting, 0u);
  EXPECT_EQ(log().Count().value().oldest, absl::InfiniteFuture());
  Publish({Message("3", "k")});
  const std::vector<OutgoingRow> later = Unplaced();
  ASSERT_THAT(later, SizeIs(1));
  EXPECT_GT(later[0].number, rows[1].number);
  EXPECT_GT(Place(later).round, round.round);
}

TEST_P(OutgoingLogConformance, ARelayWritesAllOfItOrNothing) {
  Publish({Message("1"), Message("2")});
  const std::vector<OutgoingRow> rows = Unplaced();
  ASSERT_THAT(rows, SizeIs(2));
  const OutgoingProgress::Finished unknown{.lane = LaneOf(rows[0]), .round = 4711};
  OutgoingRound round{.lane = LaneOf(rows[0]),
                      .epoch = 1,
                      .placements = {{.number = rows[0].number, .sequence = 1}}};
  const RefusedRow refused{.number = rows[1].number, .reason = absl::InvalidArgumentError("no")};
  const StreamProgress stream{.epoch = 1, .topic = "orders", .last = 1};
  EXPECT_FALSE(log()
                   .Advance({.finished = {&unknown, 1},
                             .placed = {&round, 1},
                             .refused = {&refused, 1},
                             .streams = {&stream, 1}})
                   .ok());
  EXPECT_THAT(Unfinished(), IsEmpty());
  EXPECT_THAT(UnplacedValues(), ElementsAre("1", "2"));
  EXPECT_THAT(log().ListStreams().value(), IsEmpty());
}

TEST_P(OutgoingLogConformance, OneRelayAtATimeWorksOnAnOpening) {
  EXPECT_TRUE(log().TryAcquireRelay());
  EXPECT_FALSE(log().TryAcquireRelay());
  log().ReleaseRelay();
  EXPECT_TRUE(log().TryAcquireRelay());
}

TEST_P(OutgoingLogConformance, ClosedEpochsAreForgotten) {
  Publish({Message("1")});
  const OutgoingRound round = Place(Unplaced(), 1, 5);
  const StreamProgress streams[] = {{.epoch = 5, .topic = "orders", .partition = 3, .last = 1},
                                    {.epoch = 6, .topic = "orders", .partition = 3, .last = 9}};
  Advance({.streams = streams});
  EXPECT_TRUE(log().IsEpochInUse(5).value());
  EXPECT_FALSE(log().IsEpochInUse(6).value());
  ASSERT_TRUE(log().CloseEpoch(6).ok());
  EXPECT_THAT(log().ListStreams().value(), ElementsAre(streams[0]));
  Finish(round);
  EXPECT_FALSE(log().IsEpochInUse(5).value());
}

}  // namespace
}  // namespace once::testing
