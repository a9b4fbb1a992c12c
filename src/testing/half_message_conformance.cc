// The suite of half messages: what is answered, and that no answer is taken back.
#include "once/testing/half_message_conformance.h"

#include <algorithm>
#include <array>
#include <barrier>
#include <cstddef>
#include <thread>
#include <utility>

#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "src/testing/store_words.h"

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(HalfMessageConformance);

namespace once::testing {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using enum LocalTransactionOutcome;

namespace {

// Older than the grace, younger than the horizon.
constexpr absl::Duration kLongAgo = absl::Hours(1);
constexpr absl::Duration kJustNow = absl::ZeroDuration();

}  // namespace

bool LinkHalfMessageSuite() { return true; }

void HalfMessageConformance::SetUp() {
  fixture_ = GetParam().make();
  ASSERT_NE(fixture_, nullptr);
  ASSERT_NE(fixture_->store().transactions(), nullptr) << "the store has no transactions";
  ledger_ = Open();
  ASSERT_NE(ledger_, nullptr);
}

std::unique_ptr<HalfMessageLedger> HalfMessageConformance::Open(HalfMessageOptions options) {
  // The fixture keeps it alive.
  options.store = std::shared_ptr<DedupStore>(std::shared_ptr<void>(), &fixture_->store());
  if (options.scope.empty()) options.scope = "orders";
  options.log = NoLog();
  auto ledger = HalfMessageLedger::Create(std::move(options));
  if (!ledger.ok()) {
    ADD_FAILURE() << ledger.status();
    return nullptr;
  }
  return *std::move(ledger);
}

absl::Status HalfMessageConformance::Book(std::string_view id) {
  return ledger().Transact(
      id, [&](Transaction& transaction) { return fixture().AppendEffect(transaction, id); });
}

CheckAnswer HalfMessageConformance::Ask(std::string_view id, absl::Duration ago) {
  return ledger().Check(id, absl::Now() - ago);
}

LocalTransactionOutcome HalfMessageConformance::Settled(std::string_view id) {
  const CheckAnswer answer = ledger().Settle(id);
  EXPECT_TRUE(answer.reason.ok()) << answer.reason;
  return answer.outcome;
}

std::vector<std::string> HalfMessageConformance::Effects() {
  auto effects = fixture().ReadEffects();
  EXPECT_TRUE(effects.ok()) << effects.status();
  return effects.ok() ? *std::move(effects) : std::vector<std::string>();
}

TEST_P(HalfMessageConformance, WhatHasCommittedIsCommittedHoweverOldAndHoweverOften) {
  ASSERT_TRUE(Book("a").ok());
  for (const absl::Duration ago : {kJustNow, kLongAgo, absl::Hours(24 * 365)}) {
    const CheckAnswer answer = Ask("a", ago);
    EXPECT_EQ(answer.outcome, kCommitted);
    EXPECT_TRUE(answer.reason.ok()) << answer.reason;
  }
  EXPECT_EQ(Settled("a"), kCommitted);
  EXPECT_THAT(Effects(), ElementsAre("a"));
}

TEST_P(HalfMessageConformance, WhatIsYoungAndLeftNothingIsUnknownAndMayStillCommit) {
  const CheckAnswer answer = Ask("a", kJustNow);
  EXPECT_EQ(answer.outcome, kUnknown);
  EXPECT_TRUE(absl::IsUnavailable(answer.reason)) << answer.reason;
  ASSERT_TRUE(Book("a").ok());
  EXPECT_EQ(Ask("a", kJustNow).outcome, kCommitted);
}

TEST_P(HalfMessageConformance, WhatWasAnsweredAsRolledBackNeverCommits) {
  EXPECT_EQ(Ask("a", kLongAgo).outcome, kRolledBack);
  const absl::Status late = Book("a");
  EXPECT_TRUE(absl::IsFailedPrecondition(late)) << late;
  EXPECT_THAT(Effects(), IsEmpty());
  // Not even as unknown: the answer stands, whoever asks with which age.
  EXPECT_EQ(Ask("a", kJustNow).outcome, kRolledBack);
  EXPECT_EQ(Settled("a"), kRolledBack);
}

TEST_P(HalfMessageConformance, WhatFailedIsRolledBackOnceItIsDecided) {
  const absl::Status failed = ledger().Transact("a", [&](Transaction& transaction) {
    EXPECT_TRUE(fixture().AppendEffect(transaction, "a").ok());
    return absl::DataLossError("by a test");
  });
  EXPECT_TRUE(absl::IsDataLoss(failed)) << failed;
  EXPECT_EQ(Ask("a", kJustNow).outcome, kUnknown);
  EXPECT_EQ(Settled("a"), kRolledBack);
  EXPECT_THAT(Effects(), IsEmpty());
}

TEST_P(HalfMessageConformance, WhatFailedMayBeRunAgainBeforeItIsDecided) {
  EXPECT_FALSE(
      ledger().Transact("a", [](Transaction&) { return absl::DataLossError("by a test"); }).ok());
  ASSERT_TRUE(Book("a").ok());
  EXPECT_EQ(Ask("a", kLongAgo).outcome, kCommitted);
}

TEST_P(HalfMessageConformance, ASecondTransactionOfAnIdDoesNotRun) {
  ASSERT_TRUE(Book("a").ok());
  const absl::Status again = Book("a");
  EXPECT_TRUE(absl::IsAlreadyExists(again)) << again;
  EXPECT_THAT(Effects(), ElementsAre("a"));
}

TEST_P(HalfMessageConformance, WhileItIsOpenNobodyDecides) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_exclusion);
  const absl::Status booked = ledger().Transact("a", [&](Transaction& transaction) {
    const CheckAnswer answer = Ask("a", kLongAgo);
    EXPECT_EQ(answer.outcome, kUnknown);
    EXPECT_FALSE(answer.reason.ok());
    return fixture().AppendEffect(transaction, "a");
  });
  ASSERT_TRUE(booked.ok()) << booked;
  EXPECT_EQ(Ask("a", kLongAgo).outcome, kCommitted);
}

TEST_P(HalfMessageConformance, WhoeverRacesWithTheAnswerOneOfTheTwoWins) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_threads);
  constexpr int kRaces = 40;
  std::array<absl::Status, kRaces> booked;
  std::array<CheckAnswer, kRaces> answers;
  std::barrier start(2);
  {
    const std::jthread books([&] {
      for (int i = 0; i < kRaces; ++i) {
        start.arrive_and_wait();
        booked[static_cast<std::size_t>(i)] = Book(absl::StrCat(i));
      }
    });
    const std::jthread asks([&] {
      for (int i = 0; i < kRaces; ++i) {
        start.arrive_and_wait();
        answers[static_cast<std::size_t>(i)] = Ask(absl::StrCat(i), kLongAgo);
      }
    });
  }
  const std::vector<std::string> effects = Effects();
  for (int i = 0; i < kRaces; ++i) {
    const std::string id = absl::StrCat(i);
    const auto at = static_cast<std::size_t>(i);
    const bool is_there = std::find(effects.begin(), effects.end(), id) != effects.end();
    EXPECT_EQ(is_there, booked[at].ok()) << id << ": " << booked[at];
    const LocalTransactionOutcome end = is_there ? kCommitted : kRolledBack;
    if (answers[at].outcome != kUnknown) {
      EXPECT_EQ(answers[at].outcome, end) << id;
    }
    EXPECT_EQ(Settled(id), end) << id;
  }
}

TEST_P(HalfMessageConformance, WhatIsOlderThanTheHorizonIsNotJudgedByItsAbsence) {
  const CheckAnswer answer = Ask("a", absl::Hours(24 * 365));
  EXPECT_EQ(answer.outcome, kUnknown);
  EXPECT_TRUE(absl::IsOutOfRange(answer.reason)) << answer.reason;
  EXPECT_TRUE(Book("a").ok()) << "nothing was written";
}

TEST_P(HalfMessageConformance, WhatIsForgottenIsAbsent) {
  ASSERT_TRUE(Book("a").ok());
  ASSERT_EQ(Settled("b"), kRolledBack);
  const std::vector<std::string> ids = {"a", "b", "never there"};
  ASSERT_TRUE(ledger().Forget(ids).ok());
  EXPECT_EQ(Ask("a", kJustNow).outcome, kUnknown);
  EXPECT_EQ(Ask("a", absl::Hours(24 * 365)).outcome, kUnknown);
  EXPECT_TRUE(Book("b").ok());
  EXPECT_THAT(Effects(), ElementsAre("a", "b"));
}

TEST_P(HalfMessageConformance, ScopesDoNotMeet) {
  const auto other = Open({.scope = "refunds"});
  ASSERT_TRUE(Book("a").ok());
  EXPECT_EQ(other->Settle("a").outcome, kRolledBack);
  EXPECT_EQ(Settled("a"), kCommitted);
}

TEST_P(HalfMessageConformance, IdsAreAnyBytesWithinTheirBounds) {
  const std::string longest(kMessageIdBytesMax, '\0');
  ASSERT_TRUE(Book(longest).ok());
  EXPECT_EQ(Settled(longest), kCommitted);
  for (const std::string& id : {std::string(), longest + "x"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(Book(id)));
    EXPECT_TRUE(absl::IsInvalidArgument(Ask(id, kLongAgo).reason));
    EXPECT_TRUE(absl::IsInvalidArgument(ledger().Forget({&id, 1})));
  }
}

TEST_P(HalfMessageConformance, AnswersOutliveTheStore) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_reopen);
  ASSERT_TRUE(Book("a").ok());
  ASSERT_EQ(Settled("b"), kRolledBack);
  ASSERT_TRUE(fixture().Reopen().ok());
  Renew();
  EXPECT_EQ(Ask("a", kLongAgo).outcome, kCommitted);
  EXPECT_EQ(Ask("b", kJustNow).outcome, kRolledBack);
  EXPECT_TRUE(absl::IsFailedPrecondition(Book("b")));
}

TEST_P(HalfMessageConformance, AnswersOutliveACrash) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_crash);
  ASSERT_TRUE(Book("a").ok());
  ASSERT_EQ(Settled("b"), kRolledBack);
  ASSERT_TRUE(fixture().Crash().ok());
  Renew();
  EXPECT_EQ(Ask("a", kLongAgo).outcome, kCommitted);
  EXPECT_EQ(Ask("b", kJustNow).outcome, kRolledBack);
}

}  // namespace once::testing
