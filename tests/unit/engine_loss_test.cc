// Losses as a consumer sees them: numbered messages, gaps, restarts, and who is told.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "once/sequence.h"
#include "src/loss_notes.h"
#include "src/stream_state.h"
#include "src/stream_table.h"
#include "tests/unit/engine_fixture.h"

namespace once {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const TopicPartition kOrders = {"orders", 0};
const ProducerEpoch kShop = {.producer = "shop-1", .epoch = 7};

// A side topic of `orders`.
class ScriptedMarks : public MarkSource {
 public:
  void Add(MarkRecord record) { records_.push_back(std::move(record)); }
  void KeepBehind() { is_behind_ = true; }
  void CatchUp() { is_behind_ = false; }

  absl::Status Follow(std::span<const std::string>) override {
    next_ = 0;
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<ReceivedMark>> Poll(std::size_t) override {
    std::vector<ReceivedMark> received;
    for (; !is_behind_ && next_ < records_.size(); ++next_) {
      received.push_back(
          {.topic = "orders", .key = records_[next_].key, .value = records_[next_].value});
    }
    return received;
  }
  bool has_caught_up() const override { return !is_behind_ && next_ == records_.size(); }

 private:
  std::vector<MarkRecord> records_;
  std::size_t next_ = 0;
  bool is_behind_ = false;
};

class EngineLossTest : public EngineTest {
 protected:
  EngineLossTest() {
    options_.loss = {
        .mode = LossMode::kReport,
        .gap_grace = absl::Minutes(5),
        .on_loss = [this](const LossEvent& event) {
          told_.push_back(absl::StrCat(std::string(ToString(event.kind)), " ", event.first, "-",
                                       event.last, " of ", event.producer));
        }};
  }

  void SendNumber(std::uint64_t number, const ProducerEpoch& by = kShop) {
    const std::string stamp =
        EncodeStamp(StreamName(kOrders.topic, kOrders.partition, by), number, false);
    const std::string id = absl::StrCat(std::string(by.producer), "/", by.epoch, "/", number);
    log_->Append(kOrders, {.value = "v",
                           .headers = {{"id", id}, {std::string(kSequenceHeader), stamp}},
                           .timestamp_ms = absl::ToUnixMillis(clock_->Now())});
  }

  // So long that what is missing is no longer only late.
  void LetTheGraceEnd() {
    Advance(absl::Minutes(6));
    Settle();
  }

  // What the store says is missing of the stream, and known to be.
  std::vector<std::string> Reported(const ProducerEpoch& by = kShop) {
    std::vector<std::string> ranges;
    const auto notes = store_->operations()->ListNotes(
        {.prefix = LossNoteKey(LossNoteKind::kLosses, KeyOf(kOrders)) + PackStream(by)});
    if (!notes.ok()) return {notes.status().ToString()};
    for (const StoredNote& note : *notes) {
      const std::optional<StreamLosses> losses = DecodeLosses(note.value);
      if (!losses) return {"damaged"};
      for (const MissingRange& range : losses->missing) {
        if (range.kind == MissingKind::kReported) {
          ranges.push_back(absl::StrCat(range.first, "-", range.last));
        }
      }
    }
    return ranges;
  }

  // What producers write beside the messages.
  void SendMark(const StreamMark& mark, const ProducerEpoch& by = kShop) {
    marks_->Add(EncodeMark(StreamName(kOrders.topic, kOrders.partition, by), mark));
  }
  void SendVoid(const StreamVoid& gone, const ProducerEpoch& by = kShop) {
    marks_->Add(EncodeVoid(StreamName(kOrders.topic, kOrders.partition, by), gone));
  }
  void ReadMarks() { options_.loss.marks = marks_; }

  std::shared_ptr<ScriptedMarks> marks_ = std::make_shared<ScriptedMarks>();
  std::vector<std::string> told_;
};

TEST_F(EngineLossTest, NumbersInOrderAreNoLoss) {
  for (std::uint64_t number = 1; number <= 5; ++number) SendNumber(number);
  StartAndSettle({kOrders});
  LetTheGraceEnd();

  EXPECT_EQ(stats().processed, 5U);
  EXPECT_THAT(told_, IsEmpty());
  EXPECT_EQ(stats().unstamped, 0U);
}

TEST_F(EngineLossTest, AMissingNumberIsReportedOnceTheGraceIsOver) {
  SendNumber(1);
  SendNumber(3);
  StartAndSettle({kOrders});
  Advance(absl::Minutes(4));
  SendNumber(4);
  Settle();
  EXPECT_THAT(told_, IsEmpty());

  Advance(absl::Minutes(2));
  Settle();
  EXPECT_THAT(told_, ElementsAre("suspected 2-2 of shop-1"));
  EXPECT_THAT(Reported(), ElementsAre("2-2"));
  EXPECT_EQ(stats().suspected, 1U);
}

TEST_F(EngineLossTest, AMissingNumberIsReportedThoughNothingFollows) {
  SendNumber(1);
  SendNumber(3);
  StartAndSettle({kOrders});
  LetTheGraceEnd();

  EXPECT_THAT(told_, ElementsAre("suspected 2-2 of shop-1"));
}

TEST_F(EngineLossTest, ALateArrivalIsRecovered) {
  SendNumber(1);
  SendNumber(4);
  StartAndSettle({kOrders});
  LetTheGraceEnd();
  SendNumber(2);
  Settle();

  EXPECT_THAT(told_, ElementsAre("suspected 2-3 of shop-1", "recovered 2-2 of shop-1"));
  EXPECT_THAT(Reported(), ElementsAre("3-3"));
}

TEST_F(EngineLossTest, ARestartKnowsWhatWasMissingAndDoesNotTellTwice) {
  SendNumber(1);
  SendNumber(3);
  StartAndSettle({kOrders});
  LetTheGraceEnd();
  Restart({kOrders});
  Settle();
  LetTheGraceEnd();
  SendNumber(4);
  SendNumber(6);
  Settle();
  LetTheGraceEnd();

  EXPECT_THAT(told_, ElementsAre("suspected 2-2 of shop-1", "suspected 5-5 of shop-1"));
}

TEST_F(EngineLossTest, WhatWasWaitedForBeforeARestartIsReportedAfterIt) {
  SendNumber(2);
  StartAndSettle({kOrders});
  Restart({kOrders});
  Settle();
  LetTheGraceEnd();

  EXPECT_THAT(told_, ElementsAre("suspected 1-1 of shop-1"));
}

TEST_F(EngineLossTest, ARestartInTheMiddleOfAStreamIsNoLoss) {
  SendNumber(1);
  SendNumber(2);
  StartAndSettle({kOrders});
  Restart({kOrders});
  SendNumber(3);
  Settle();
  LetTheGraceEnd();

  EXPECT_EQ(stats().processed, 1U);
  EXPECT_THAT(told_, IsEmpty());
}

TEST_F(EngineLossTest, AStoreThatIsRolledBackMeetsTheMessagesAgainAndMissesNone) {
  SendNumber(1);
  StartAndSettle({kOrders});
  const std::size_t before = store_->recorded_calls();
  SendNumber(2);
  SendNumber(3);
  Settle();
  consumer_.reset();
  store_->RollBackTo(before);
  Restart({kOrders});
  SendNumber(4);
  Settle();
  LetTheGraceEnd();

  EXPECT_THAT(told_, IsEmpty());
}

TEST_F(EngineLossTest, ACommitThatIsRefusedIsNoArrival) {
  SendNumber(1);
  SendNumber(2);
  SendNumber(4);
  int refusals = 1;
  store_->OnCommit([&](const std::vector<std::string>&) {
    return refusals-- > 0 ? CommitFate::kTrouble : CommitFate::kHappens;
  });
  StartAndSettle({kOrders});
  Advance(absl::Seconds(1));
  Settle();
  LetTheGraceEnd();

  EXPECT_THAT(told_, ElementsAre("suspected 3-3 of shop-1"));
}

TEST_F(EngineLossTest, AnUnknownCommitThatHappenedHasReceivedItsNumbers) {
  for (const CommitFate fate : {CommitFate::kUnknownDone, CommitFate::kUnknownUndone}) {
    told_.clear();
    const ProducerEpoch by{.producer = "shop-1", .epoch = static_cast<std::uint64_t>(fate)};
    bool is_first = true;
    store_->OnCommit([&](const std::vector<std::string>&) {
      return std::exchange(is_first, false) ? fate : CommitFate::kHappens;
    });
    SendNumber(1, by);
    SendNumber(3, by);
    Restart({kOrders});
    Settle();
    Advance(absl::Seconds(1));
    Settle();
    LetTheGraceEnd();

    EXPECT_THAT(told_, ElementsAre("suspected 2-2 of shop-1"));
  }
}

TEST_F(EngineLossTest, AMessageThatWaitsForARetryHasArrived) {
  When("shop-1/7/1",
       [](const Message&, Transaction&) -> Outcome { return absl::UnavailableError("not now"); });
  options_.retry.backoff.initial = absl::Hours(1);
  options_.retry.backoff.max = absl::Hours(1);
  SendNumber(1);
  SendNumber(2);
  StartAndSettle({kOrders});
  LetTheGraceEnd();

  EXPECT_THAT(told_, IsEmpty());
}

TEST_F(EngineLossTest, AConsumerThatBeganInTheMiddleMissesNothingBeforeThat) {
  for (std::uint64_t number = 1; number <= 3; ++number) SendNumber(number);
  log_->SetCommitted(kOrders, 2);
  SendNumber(5);
  StartAndSettle({kOrders});
  LetTheGraceEnd();

  EXPECT_THAT(told_, ElementsAre("suspected 4-4 of shop-1"));
}

TEST_F(EngineLossTest, WhatTheLogHasLostIsMissing) {
  options_.out_of_range = OutOfRange::kEarliest;
  SendNumber(1);
  SendNumber(2);
  StartAndSettle({kOrders});
  consumer_.reset();
  for (std::uint64_t number = 3; number <= 6; ++number) SendNumber(number);
  log_->DeleteBelow(kOrders, 4);
  Restart({kOrders});
  Settle();
  LetTheGraceEnd();

  EXPECT_THAT(told_, ElementsAre("suspected 3-4 of shop-1"));
}

TEST_F(EngineLossTest, WhatAnOperatorSkippedIsNot) {
  SendNumber(1);
  SendNumber(2);
  StartAndSettle({kOrders});
  consumer_.reset();
  for (std::uint64_t number = 3; number <= 6; ++number) SendNumber(number);
  const PositionOrder order{
      .key = KeyOf(kOrders), .directive = PositionDirective::kSet, .position = 4};
  ASSERT_TRUE(store_->operations()->OrderPosition(order).ok());
  Restart({kOrders});
  Settle();
  SendNumber(8);
  Settle();
  LetTheGraceEnd();

  EXPECT_THAT(told_, ElementsAre("suspected 7-7 of shop-1"));
}

TEST_F(EngineLossTest, HolesInTheOffsetsProveNothing) {
  SendNumber(1);
  log_->AppendHole(kOrders);
  SendNumber(2);
  StartAndSettle({kOrders});
  LetTheGraceEnd();

  EXPECT_THAT(told_, IsEmpty());
}

TEST_F(EngineLossTest, MessagesWithoutANumberAreCountedAndHandled) {
  Send(kOrders, "plain");
  log_->Append(kOrders, {.value = "v",
                         .headers = {{"id", "elsewhere"},
                                     {std::string(kSequenceHeader),
                                      EncodeStamp(StreamName("other", 0, kShop), 9, false)}}});
  SendNumber(1);
  StartAndSettle({kOrders});

  EXPECT_EQ(stats().processed, 3U);
  EXPECT_EQ(stats().unstamped, 2U);
}

TEST_F(EngineLossTest, EveryIncarnationOfAProducerCountsFromOne) {
  SendNumber(1);
  SendNumber(2);
  SendNumber(1, {.producer = "shop-1", .epoch = 8});
  SendNumber(3, {.producer = "shop-1", .epoch = 8});
  StartAndSettle({kOrders});
  LetTheGraceEnd();

  EXPECT_THAT(told_, ElementsAre("suspected 2-2 of shop-1"));
}

TEST_F(EngineLossTest, InACompactedTopicNothingIsReportedAndThatIsSaidOnce) {
  log_->Compact();
  SendNumber(1);
  SendNumber(3);
  StartAndSettle({kOrders, {"orders", 1}});
  LetTheGraceEnd();

  EXPECT_THAT(told_, IsEmpty());
  const std::vector<std::string> events = events_->actions();
  EXPECT_EQ(std::count(events.begin(), events.end(), "loss_not_tracked"), 1);
}

TEST_F(EngineLossTest, ObservingTellsAndKeepsNothing) {
  options_.loss.mode = LossMode::kObserve;
  SendNumber(1);
  SendNumber(3);
  StartAndSettle({kOrders});
  LetTheGraceEnd();

  EXPECT_THAT(told_, ElementsAre("suspected 2-2 of shop-1"));
  EXPECT_THAT(Reported(), IsEmpty());
}

TEST_F(EngineLossTest, NobodyLooksAtStampsWhenItIsOff) {
  options_.loss.mode = LossMode::kOff;
  SendNumber(1);
  SendNumber(3);
  StartAndSettle({kOrders});
  LetTheGraceEnd();

  EXPECT_THAT(told_, IsEmpty());
  EXPECT_EQ(stats().unstamped, 0U);
}

TEST_F(EngineLossTest, AMarkShowsALostTailOnceThePositionHasPassedIt) {
  ReadMarks();
  SendNumber(1);
  SendMark({.last = 3, .last_offset = 2, .first_offset = 0});
  StartAndSettle({kOrders});
  LetTheGraceEnd();
  LetTheGraceEnd();
  EXPECT_THAT(told_, IsEmpty()) << "what it speaks of has not been read yet";

  log_->AppendHole(kOrders);
  log_->AppendHole(kOrders);
  Send(kOrders, "from somebody else");
  Settle();
  LetTheGraceEnd();
  LetTheGraceEnd();
  EXPECT_THAT(told_, ElementsAre("suspected 2-3 of shop-1"));
}

TEST_F(EngineLossTest, AMarkShowsAStreamOfWhichNothingArrived) {
  ReadMarks();
  log_->AppendHole(kOrders);
  log_->AppendHole(kOrders);
  Send(kOrders, "from somebody else");
  SendMark({.last = 2, .last_offset = 1, .first_offset = 0});
  StartAndSettle({kOrders});
  LetTheGraceEnd();
  LetTheGraceEnd();

  EXPECT_THAT(told_, ElementsAre("suspected 1-2 of shop-1"));
}

TEST_F(EngineLossTest, AMarkSaysWhereAStreamBeganThatWasMetInTheMiddle) {
  ReadMarks();
  Send(kOrders, "from somebody else");
  log_->SetCommitted(kOrders, 1);
  log_->AppendHole(kOrders);
  SendNumber(2);
  SendMark({.last = 2, .last_offset = 2, .first_offset = 1});
  StartAndSettle({kOrders});
  LetTheGraceEnd();
  LetTheGraceEnd();

  EXPECT_THAT(told_, ElementsAre("suspected 1-1 of shop-1"));
}

TEST_F(EngineLossTest, AMarkOfAStreamThatBeganBeforeUsSaysNothingOfItsBeginning) {
  ReadMarks();
  SendNumber(1);
  log_->SetCommitted(kOrders, 1);
  SendNumber(2);
  SendMark({.last = 2, .last_offset = 1, .first_offset = 0});
  SendMark({.last = 9, .last_offset = 0, .first_offset = 0}, {.producer = "long-ago", .epoch = 1});
  StartAndSettle({kOrders});
  LetTheGraceEnd();
  LetTheGraceEnd();

  EXPECT_THAT(told_, IsEmpty());
}

TEST_F(EngineLossTest, WhatAProducerHasGivenUpIsNoLoss) {
  ReadMarks();
  SendNumber(1);
  SendNumber(4);
  SendVoid({.first = 2, .last = 3});
  StartAndSettle({kOrders});
  LetTheGraceEnd();

  EXPECT_THAT(told_, IsEmpty());
}

TEST_F(EngineLossTest, AVoidThatIsReadLongBeforeItsPlaceIsRemembered) {
  ReadMarks();
  SendVoid({.first = 2, .last = 3});
  StartAndSettle({kOrders});
  LetTheGraceEnd();
  SendNumber(1);
  SendNumber(4);
  Settle();
  LetTheGraceEnd();

  EXPECT_THAT(told_, IsEmpty());
}

TEST_F(EngineLossTest, NothingIsReportedBeforeTheSideTopicHasBeenRead) {
  ReadMarks();
  SendNumber(1);
  SendNumber(4);
  SendVoid({.first = 2, .last = 2});
  marks_->KeepBehind();
  StartAndSettle({kOrders});
  LetTheGraceEnd();
  EXPECT_THAT(told_, IsEmpty());

  marks_->CatchUp();
  LetTheGraceEnd();
  LetTheGraceEnd();
  EXPECT_THAT(told_, ElementsAre("suspected 3-3 of shop-1"));
}

TEST_F(EngineLossTest, AStoreThatIsRolledBackHearsOfTheMarksAgain) {
  ReadMarks();
  SendNumber(1);
  Send(kOrders, "from somebody else");
  SendMark({.last = 2, .last_offset = 0, .first_offset = 0});
  log_->Assign({kOrders});
  StartConsumer();
  Settle();
  const std::size_t before = store_->recorded_calls();
  LetTheGraceEnd();
  LetTheGraceEnd();
  ASSERT_THAT(Reported(), ElementsAre("2-2"));
  store_->RollBackTo(before - 1);
  Send(kOrders, "another");
  Settle();
  LetTheGraceEnd();
  LetTheGraceEnd();

  EXPECT_THAT(Reported(), ElementsAre("2-2"));
}

}  // namespace
}  // namespace once
