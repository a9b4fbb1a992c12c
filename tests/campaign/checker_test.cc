// The judge of campaigns, shown each kind of violation and clean truths of every kind. A judge that
// misses something would make every campaign worthless.
#include "tests/campaign/checker.h"

#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/campaign/workload.h"
#include "tests/scratch_folder.h"

namespace once::campaign {
namespace {

using ::testing::Contains;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// One message of each kind, a copy and a conflict, settled as they should be.
//   offset 0 p · 1 f · 2 r · 3 x · 4 s · 5 without id · 6 copy of 0 · 7 conflict with 0
Truth CleanTruth(HandlerKind handler = HandlerKind::kTransactional) {
  Truth truth{.handler = handler};
  truth.deliveries = {{.offset = 0, .id = "o-0", .value = 100, .kind = 'p'},
                      {.offset = 1, .id = "o-1", .value = 101, .kind = 'f'},
                      {.offset = 2, .id = "o-2", .value = 102, .kind = 'r'},
                      {.offset = 3, .id = "o-3", .value = 103, .kind = 'x'},
                      {.offset = 4, .id = "o-4", .value = 104, .kind = 's'},
                      {.offset = 5, .id = "", .value = 105, .kind = 'p'},
                      {.offset = 6, .id = "o-0", .value = 100, .kind = 'p'},
                      {.offset = 7, .id = "o-0", .value = 999, .kind = 'p'}};
  truth.effects = {{.id = "o-0", .offset = 0, .value = 100},
                   {.id = "o-1", .offset = 1, .value = 101}};
  truth.letters = {{.id = "o-2", .offset = 2, .disposition = "rejected", .value = 102},
                   {.id = "o-3", .offset = 3, .disposition = "retries-exhausted", .value = 103},
                   {.id = "", .offset = 5, .disposition = "no-id", .value = 105},
                   {.id = "o-0", .offset = 7, .disposition = "conflict", .value = 999}};
  if (handler == HandlerKind::kTransactional) truth.totals[0] = {.count = 2, .sum = 201};
  truth.partitions[0] = {.end = 8, .committed = 8, .position = 8};
  truth.ids = {{"o-0", IdState::kCompleted},
               {"o-1", IdState::kCompleted},
               {"o-2", IdState::kDead},
               {"o-3", IdState::kDead},
               {"o-4", IdState::kDiscarded}};
  return truth;
}

void AddEffect(Truth& truth, const Effect& effect) {
  truth.effects.push_back(effect);
  if (truth.handler == HandlerKind::kPlain) return;
  ++truth.totals[effect.partition].count;
  truth.totals[effect.partition].sum += effect.value;
}

auto Finds(const std::string& words) {
  return Field("findings", &Judgement::findings,
               Contains(Field("what", &Finding::what, HasSubstr(words))));
}

TEST(Checker, FindsNothingInACleanTruth) {
  for (const HandlerKind handler : {HandlerKind::kTransactional, HandlerKind::kPlain}) {
    const Judgement judgement = Judge(CleanTruth(handler), {});
    EXPECT_THAT(judgement.findings, IsEmpty());
    EXPECT_EQ(judgement.lost + judgement.duplicate_effects, 0);
    EXPECT_EQ(judgement.buried, 2);
  }
}

TEST(Checker, FindsASecondEffect) {
  Truth truth = CleanTruth();
  AddEffect(truth, {.id = "o-0", .offset = 6, .value = 100});
  const Judgement judgement = Judge(truth, {});
  EXPECT_THAT(judgement, Finds("one effect: a second effect"));
  EXPECT_EQ(judgement.duplicate_effects, 1);
}

TEST(Checker, FindsEffectsOfATransactionalHandlerThatAreOutOfOrder) {
  Truth truth = CleanTruth();
  std::swap(truth.effects[0], truth.effects[1]);
  EXPECT_THAT(Judge(truth, {}), Finds("order: an effect after that of offset 1: o-0"));
  Truth plain = CleanTruth(HandlerKind::kPlain);
  std::swap(plain.effects[0], plain.effects[1]);
  EXPECT_THAT(Judge(plain, {}).findings, IsEmpty());
}

TEST(Checker, AllowsEffectsOfDifferentPartitionsInAnyOrder) {
  Truth truth = CleanTruth();
  truth.deliveries.push_back({.partition = 1, .offset = 0, .id = "o-9", .value = 109, .kind = 'p'});
  truth.partitions[1] = {.end = 1, .committed = 1, .position = 1};
  truth.ids["o-9"] = IdState::kCompleted;
  AddEffect(truth, {.id = "o-9", .partition = 1, .offset = 0, .value = 109});
  EXPECT_THAT(Judge(truth, {}).findings, IsEmpty());
}

TEST(Checker, AllowsTheLateEffectOfAnOwnerWhoWasSucceededByOneThatWasTold) {
  Truth truth = CleanTruth(HandlerKind::kPlain);
  truth.effects[0].is_announced = true;
  AddEffect(truth, {.id = "o-0", .offset = 0, .value = 100});
  EXPECT_THAT(Judge(truth, {}).findings, IsEmpty());
  AddEffect(truth, {.id = "o-0", .offset = 0, .value = 100});
  EXPECT_THAT(Judge(truth, {}), Finds("announced: an effect was repeated"));
}

TEST(Checker, FindsALostMessage) {
  Truth truth = CleanTruth();
  truth.effects.erase(truth.effects.begin() + 1);
  truth.totals[0] = {.count = 1, .sum = 100};
  const Judgement judgement = Judge(truth, {});
  EXPECT_THAT(judgement, Finds("one outcome: no effect: o-1"));
  EXPECT_EQ(judgement.lost, 1);
}

TEST(Checker, FindsALostDeadLetterOfEveryKind) {
  for (std::size_t i = 0; i < CleanTruth().letters.size(); ++i) {
    Truth truth = CleanTruth();
    truth.letters.erase(truth.letters.begin() + static_cast<std::ptrdiff_t>(i));
    const Judgement judgement = Judge(truth, {});
    EXPECT_THAT(judgement, Finds("one outcome")) << i;
    EXPECT_EQ(judgement.lost, 1) << i;
  }
}

TEST(Checker, FindsTheEffectOfAnAttemptThatFailed) {
  Truth truth = CleanTruth();
  AddEffect(truth, {.id = "o-2", .offset = 2, .value = 102});
  EXPECT_THAT(Judge(truth, {}), Finds("atomic: the effect of an attempt that failed"));
}

TEST(Checker, FindsAnEffectOfNoMessage) {
  Truth truth = CleanTruth();
  AddEffect(truth, {.id = "o-9", .offset = 9, .value = 9});
  EXPECT_THAT(Judge(truth, {}), Finds("an effect that no message of the topic has"));
}

TEST(Checker, FindsAnEffectWithAnotherValue) {
  Truth truth = CleanTruth();
  truth.effects[0].value = 5;
  truth.totals[0].sum = 106;
  EXPECT_THAT(Judge(truth, {}), Finds("an effect that no message of the topic has"));
}

TEST(Checker, FindsADeadLetterThatIsNotOwed) {
  Truth truth = CleanTruth();
  truth.letters.push_back({.id = "o-1", .offset = 1, .disposition = "retries-exhausted"});
  EXPECT_THAT(Judge(truth, {}), Finds("not owed"));
  truth = CleanTruth();
  truth.letters.push_back({.id = "o-0", .offset = 6, .disposition = "conflict"});
  EXPECT_THAT(Judge(truth, {}), Finds("a conflict was reported where there is none"));
  truth = CleanTruth();
  truth.letters.push_back({.id = "o-7", .offset = 70, .disposition = "rejected"});
  EXPECT_THAT(Judge(truth, {}), Finds("a dead letter that no message of the topic has"));
}

TEST(Checker, FindsAWrongDisposition) {
  Truth truth = CleanTruth();
  truth.letters[0].disposition = "retries-exhausted";
  EXPECT_THAT(Judge(truth, {}), Finds("not owed: o-2"));
}

TEST(Checker, FindsADeadLetterWithAnotherValue) {
  Truth truth = CleanTruth();
  truth.letters[0].value = 5;
  EXPECT_THAT(Judge(truth, {}), Finds("a dead letter with another value than its message: o-2"));
}

TEST(Checker, CountsAFurtherCopyOfADeadLetterAndAllowsIt) {
  Truth truth = CleanTruth();
  truth.letters.push_back(truth.letters[0]);
  const Judgement judgement = Judge(truth, {});
  EXPECT_THAT(judgement.findings, IsEmpty());
  EXPECT_EQ(judgement.republished, 1);
}

TEST(Checker, FindsASecondDeadLetterOfAnotherDelivery) {
  Truth truth = CleanTruth();
  truth.deliveries.push_back({.offset = 8, .id = "o-2", .value = 102, .kind = 'r'});
  truth.partitions[0] = {.end = 9, .committed = 9, .position = 9};
  EXPECT_THAT(Judge(truth, {}).findings, IsEmpty());
  truth.letters.push_back({.id = "o-2", .offset = 8, .disposition = "rejected", .value = 102});
  EXPECT_THAT(Judge(truth, {}), Finds("more than one dead letter"));
  // What was published stays published when the store forgets it, and then another copy is buried.
  truth.is_rolled_back = true;
  EXPECT_THAT(Judge(truth, {}).findings, IsEmpty());
  EXPECT_EQ(Judge(truth, {}).republished, 1);
}

TEST(Checker, FindsAnIdWithoutItsEffectAndAnEffectWithoutItsId) {
  Truth truth = CleanTruth();
  truth.ids["o-0"] = IdState::kAbsent;
  EXPECT_THAT(Judge(truth, {}), Finds("atomic: the store's record of the id is in state 0"));
  truth = CleanTruth();
  truth.ids["o-2"] = IdState::kRetrying;
  EXPECT_THAT(Judge(truth, {}), Finds("atomic: the store's record of the id is in state 2"));
}

TEST(Checker, AllowsAnIdToStayDyingOnlyWhereNobodyOwesItsLetter) {
  Truth truth = CleanTruth(HandlerKind::kPlain);
  truth.ids["o-2"] = IdState::kDying;
  EXPECT_THAT(Judge(truth, {}), Finds("atomic: the store's record of the id is in state 7"));
  truth.has_letters = false;
  std::erase_if(truth.letters, [](const Letter& one) { return one.disposition[0] == 'r'; });
  EXPECT_THAT(Judge(truth, {}).findings, IsEmpty());
}

TEST(Checker, FindsTotalsThatAreNotThoseOfTheEffects) {
  Truth truth = CleanTruth();
  truth.totals[0].sum += 1;
  EXPECT_THAT(Judge(truth, {}), Finds("atomic: the totals"));
}

TEST(Checker, FindsAPositionThatIsNotTheEndAndAnOffsetBeyondIt) {
  Truth truth = CleanTruth();
  truth.partitions[0].position = 7;
  const Judgement judgement = Judge(truth, {});
  EXPECT_THAT(judgement, Finds("the position is 7"));
  EXPECT_THAT(judgement, Finds("acknowledged: offset 8 is committed, and 7 is settled"));
}

TEST(Checker, FindsLettersThatAreStillInTheOutbox) {
  Truth truth = CleanTruth();
  truth.outbox_pending = 2;
  EXPECT_THAT(Judge(truth, {}), Finds("published: 2 dead letters"));
}

TEST(Checker, AllowsAnAnnouncedRerunOfAPlainHandlerAndFindsAnUnannouncedOne) {
  Truth truth = CleanTruth(HandlerKind::kPlain);
  AddEffect(truth, {.id = "o-0", .offset = 0, .value = 100, .is_announced = true});
  const Judgement announced = Judge(truth, {});
  EXPECT_THAT(announced.findings, IsEmpty());
  EXPECT_EQ(announced.reruns, 1);
  truth.effects.back().is_announced = false;
  EXPECT_THAT(Judge(truth, {}), Finds("announced: an effect was repeated"));
  truth.is_store_durable = false;  // a store that forgets cannot announce
  EXPECT_THAT(Judge(truth, {}).findings, IsEmpty());
}

TEST(Checker, WantsTheEffectOfWhatWasRedriven) {
  Truth truth = CleanTruth();
  truth.is_redriven = true;
  EXPECT_EQ(Judge(truth, {}).lost, 2);
  AddEffect(truth, {.id = "o-2", .offset = 2, .value = 102});
  AddEffect(truth, {.id = "o-3", .offset = 3, .value = 103});
  truth.ids["o-2"] = IdState::kCompleted;
  truth.ids["o-3"] = IdState::kCompleted;
  EXPECT_THAT(Judge(truth, {}).findings, IsEmpty());
}

// Histories are written by hand, one file per process.
class CheckerOfHistories : public ::testing::Test {
 protected:
  void Write(int process, const std::vector<std::string>& lines) {
    const std::string path = folder_.File("history-" + std::to_string(process));
    std::ofstream file(path);
    int number = 0;
    for (const std::string& line : lines) {
      file << "{\"p\":" << process << ",\"s\":" << ++number << ",\"t\":" << ++time_ << ",\"m\":0,"
           << line << "}\n";
    }
    files_.push_back(path);
  }

  const testing::ScratchFolder folder_;
  std::vector<std::string> files_;
  int time_ = 0;
};

std::string Handle(int offset, int attempt = 1, bool is_repeated = false) {
  return R"("e":"invoke","c":"handle","d":{"at":[[0,)" + std::to_string(offset) +
         R"(]],"ids":["o-)" + std::to_string(offset) + R"("],"attempt":)" +
         std::to_string(attempt) + R"(,"repeated":)" + (is_repeated ? "true" : "false") + "}";
}

constexpr const char* kCommitFive = R"("e":"invoke","c":"commit","d":{"at":[[0,5]],"ids":["o-1"]})";
constexpr const char* kHintFive = R"("e":"invoke","c":"hint","d":{"at":[[0,5]]})";

TEST_F(CheckerOfHistories, FindsAnOffsetThatWasCommittedBeforeItsOutcome) {
  Write(1, {kHintFive, kCommitFive});
  EXPECT_THAT(Judge(CleanTruth(), files_), Finds("acknowledged: offset 5 was committed"));
}

TEST_F(CheckerOfHistories, FindsAnOffsetThatWasCommittedBeforeItsOutcomeWasKnown) {
  Write(1, {kCommitFive, kHintFive, R"("e":"ok","c":"commit","of":1)"});
  EXPECT_THAT(Judge(CleanTruth(), files_), Finds("acknowledged: offset 5 was committed"));
}

TEST_F(CheckerOfHistories, FindsAnOffsetThatWasCommittedAlthoughItsOutcomeFailed) {
  Write(1, {kCommitFive, R"("e":"fail","c":"commit","of":1)", kHintFive});
  EXPECT_THAT(Judge(CleanTruth(), files_), Finds("acknowledged: offset 5 was committed"));
}

TEST_F(CheckerOfHistories, AllowsAnOffsetWhoseOutcomeIsInTheStore) {
  Write(1, {kCommitFive, R"("e":"ok","c":"commit","of":1)", kHintFive});
  Write(2, {R"("e":"ok","c":"take","of":0,"d":{"at":[[0,8]]})",
            R"("e":"invoke","c":"verify","d":{"at":[[0,8]]})"});
  EXPECT_THAT(Judge(CleanTruth(), files_).findings, IsEmpty());
}

// The calls that settle the id of offset 0 by a claim, up to what is synced.
std::vector<std::string> Completed() {
  return {R"("e":"invoke","c":"complete","d":{"ids":["o-0"]})", R"("e":"ok","c":"complete","of":1)",
          R"("e":"invoke","c":"sync","d":{})", R"("e":"ok","c":"sync","of":3)"};
}

constexpr const char* kHintOne = R"("e":"invoke","c":"hint","d":{"at":[[0,1]]})";

TEST_F(CheckerOfHistories, AllowsAnOffsetWhoseClaimIsSettledAndSynced) {
  std::vector<std::string> lines = Completed();
  lines.emplace_back(kHintOne);
  Write(1, lines);
  EXPECT_THAT(Judge(CleanTruth(HandlerKind::kPlain), files_).findings, IsEmpty());
}

TEST_F(CheckerOfHistories, FindsAnOffsetThatWasCommittedBeforeItsClaimWasSettledAndSynced) {
  for (std::size_t at = 0; at < Completed().size(); ++at) {
    std::vector<std::string> lines = Completed();
    lines[at] = kHintOne;
    files_.clear();
    Write(static_cast<int>(at), lines);
    EXPECT_THAT(Judge(CleanTruth(HandlerKind::kPlain), files_),
                Finds("when the store had settled 0"))
        << at;
  }
}

TEST_F(CheckerOfHistories, FindsAnOffsetBeyondAMessageThatIsNotSettled) {
  std::vector<std::string> lines = Completed();
  lines.emplace_back(R"("e":"invoke","c":"hint","d":{"at":[[0,2]]})");
  Write(1, lines);
  EXPECT_THAT(Judge(CleanTruth(HandlerKind::kPlain), files_),
              Finds("when the store had settled 1"));
}

TEST_F(CheckerOfHistories, AllowsAnOffsetWhoseIdTheStoreKnowsAsSettled) {
  Write(1, {R"("e":"invoke","c":"claim","d":{"ids":["o-1","o-0"]})",
            R"("e":"ok","c":"claim","of":1,"d":{"verdicts":[0,2]})", kHintOne});
  EXPECT_THAT(Judge(CleanTruth(HandlerKind::kPlain), files_).findings, IsEmpty());
}

TEST_F(CheckerOfHistories, FindsAnAttemptTooMany) {
  Write(1, {Handle(3, kAttemptsMax)});
  EXPECT_THAT(Judge(CleanTruth(), files_).findings, IsEmpty());
  Write(2, {Handle(3, kAttemptsMax + 1)});
  EXPECT_THAT(Judge(CleanTruth(), files_), Finds("attempts: attempt 4 of o-3"));
}

TEST_F(CheckerOfHistories, FindsAnInvocationThatWasCutOffAndNotAnnouncedToTheNext) {
  const Truth truth = CleanTruth(HandlerKind::kPlain);
  Write(1, {Handle(0)});
  Write(2, {Handle(0, 2, /*is_repeated=*/true), R"("e":"ok","c":"handle","of":1)"});
  EXPECT_THAT(Judge(truth, files_).findings, IsEmpty());
  Write(3, {Handle(1)});
  Write(4, {Handle(1)});
  EXPECT_THAT(Judge(truth, files_), Finds("announced: an invocation of o-1 was cut off"));
}

TEST_F(CheckerOfHistories, CountsInvocationsAndWhatAFormerOwnerWasRefused) {
  Write(1, {R"("e":"invoke","c":"begin","d":{"at":[[0,5]]})", R"("e":"fail","c":"begin","of":1)",
            R"("e":"ok","c":"complete","of":2,"d":{"lost":2})", R"("e":"fail","c":"verify","of":3)",
            R"("e":"invoke","c":"stats","d":{"settled":7,"fenced":2})", Handle(0)});
  const Judgement judgement = Judge(CleanTruth(), files_);
  EXPECT_EQ(judgement.refused, 3);  // a commit of offsets fails for other reasons too
  EXPECT_EQ(judgement.fenced, 2);
  EXPECT_EQ(judgement.invocations, 1);
}

TEST_F(CheckerOfHistories, ShowsTheHistoryOfOneMessageOverAllProcesses) {
  Write(1, {R"("e":"invoke","c":"poll","d":{"runs":[[0,0,4],[1,0,9]]})",
            R"("e":"invoke","c":"poll","d":{"runs":[[1,0,9]]})", Handle(1), Handle(2)});
  Write(2, {Handle(1, 2), R"("e":"ok","c":"handle","of":1)", kCommitFive});
  const std::string witness =
      FindWitness({.what = "", .id = "o-1", .partition = 0, .offset = 1}, files_);
  EXPECT_THAT(witness, HasSubstr("[0,0,4]"));
  EXPECT_THAT(witness, HasSubstr(R"("p":1,"s":3)"));
  EXPECT_THAT(witness, HasSubstr(R"("p":2,"s":1)"));
  EXPECT_THAT(witness, HasSubstr(R"("p":2,"s":2)"));
  EXPECT_THAT(witness, HasSubstr(R"("c":"commit")"));
  EXPECT_THAT(witness, Not(HasSubstr("o-2")));
  EXPECT_THAT(witness, Not(HasSubstr(R"({"runs":[[1,0,9]]})")));
}

TEST(Workload, HasEveryKindOfMessageAndIsTheSameEveryTime) {
  const Workload workload{.seed = 7, .messages = 2'000, .partitions = 3, .odd_one_in = 40};
  const auto messages = MessagesOf(workload, "orders", 0, workload.messages);
  EXPECT_EQ(messages, MessagesOf(workload, "orders", 0, workload.messages));
  std::map<std::string, std::string> values;
  std::map<char, int> kinds;
  int copies = 0;
  int conflicts = 0;
  int nameless = 0;
  for (const OutgoingMessage& message : messages) {
    ++kinds[KindOf(*message.value).value()];
    if (message.headers.empty()) {
      ++nameless;
      continue;
    }
    const auto [first, is_new] = values.try_emplace(*message.headers[0].value, *message.value);
    copies += !is_new && first->second == *message.value ? 1 : 0;
    conflicts += first->second != *message.value ? 1 : 0;
  }
  for (const char kind : {'p', 'f', 'r', 'x', 's'}) EXPECT_GT(kinds[kind], 10) << kind;
  EXPECT_GT(copies, 50);
  EXPECT_GT(conflicts, 10);
  EXPECT_GT(nameless, 10);
}

}  // namespace
}  // namespace once::campaign
