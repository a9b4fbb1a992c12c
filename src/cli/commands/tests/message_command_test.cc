// Redrive, discard and resolve: which key the store is asked to change, and what the person hears.
#include "src/cli/commands/message_command.h"

#include "once/dead_letter.h"
#include "src/cli/commands/tests/command_scene.h"

namespace once::cli {
namespace {

using ::testing::ElementsAre;
using testing::FailureOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;

class MessageCommand : public CommandScene {
 protected:
  Report Decide(MessageAction action, std::vector<MessageSelector> selectors) {
    CommandContext context = Context();
    return DecideMessages(context, action, selectors);
  }
  const std::string scope_ = GroupTopicScope("billing", "orders");
};

TEST_F(MessageCommand, RedrivesTheNewestLetterUnderItsOwnIdToItsOrigin) {
  operations_.failures = {FailureOf(1, "order-7"), FailureOf(4, "order-7")};
  operations_.failures[1].redrives = 1;
  const Report report = Decide(MessageAction::kRedrive, {{.id = "order-7"}});
  EXPECT_EQ(report.code, kDone) << NotesOf(report);
  ASSERT_THAT(operations_.redrives, SizeIs(1));
  const RedriveRequest& request = operations_.redrives[0];
  EXPECT_EQ(request.number, 4);
  EXPECT_EQ(request.row.id, "order-7");
  EXPECT_EQ(request.row.scope, scope_);
  EXPECT_EQ(request.row.origin.ordinal, -2);
  EXPECT_EQ(request.row.origin.offset, 40);
  EXPECT_EQ(request.row.message.topic, "orders");
  EXPECT_EQ(request.row.message.partition, 3);
  EXPECT_EQ(request.row.message.value, "account 4711");
  const std::string redrive_id = report.document["outcomes"][0]["redrive_id"];
  EXPECT_THAT(redrive_id, SizeIs(32));
  EXPECT_EQ(request.row.message,
            MakeRedrive(operations_.failures[1].letter, {"orders", 3}, redrive_id, 2));
}

TEST_F(MessageCommand, SaysWhoPublishesIt) {
  operations_.failures = {FailureOf(1, "a")};
  EXPECT_THAT(Decide(MessageAction::kRedrive, {{.id = "a"}}).text,
              HasSubstr("when a consumer with dead_letters opens this store"));
  is_running_ = true;
  EXPECT_THAT(Decide(MessageAction::kRedrive, {{.id = "a"}}).text,
              HasSubstr("the running consumer, if it has dead_letters, publishes it to orders[3]"));
}

TEST_F(MessageCommand, AnIdInSeveralScopesMustBeToldApart) {
  operations_.failures = {FailureOf(1, "a"), FailureOf(2, "a")};
  operations_.failures[1].scope = NamedScope("audit");
  const Report open = Decide(MessageAction::kRedrive, {{.id = "a"}});
  EXPECT_EQ(open.code, kUsage);
  EXPECT_THAT(NotesOf(open), HasSubstr("\"group billing, topic orders\""));
  EXPECT_THAT(operations_.redrives, IsEmpty());
  EXPECT_EQ(Decide(MessageAction::kRedrive, {{.id = "a", .scope = "audit"}}).code, kDone);
  EXPECT_EQ(operations_.redrives.at(0).number, 2);
}

TEST_F(MessageCommand, ALetterWithoutAnIdIsNotSentAroundInVain) {
  operations_.failures = {FailureOf(1, "")};
  const Report report = Decide(MessageAction::kRedrive, {{.number = 1}});
  EXPECT_EQ(report.code, kRefused);
  EXPECT_THAT(NotesOf(report), HasSubstr("once discard --number 1"));
  EXPECT_THAT(operations_.redrives, IsEmpty());
}

TEST_F(MessageCommand, DiscardAsksFirst) {
  operations_.ids = {{.scope = scope_, .record = {.state = IdState::kDead}}};
  is_confirmed_ = false;
  const Report refused = Decide(MessageAction::kDiscard, {{.id = "a"}});
  EXPECT_EQ(refused.code, kRefused);
  EXPECT_THAT(NotesOf(refused), HasSubstr("--yes"));
  EXPECT_THAT(operations_.discards, IsEmpty());
  is_confirmed_ = true;
  EXPECT_EQ(Decide(MessageAction::kDiscard, {{.id = "a"}}).code, kDone);
  EXPECT_THAT(operations_.discards, ElementsAre(Pair(scope_, "a")));
}

TEST_F(MessageCommand, DiscardTakesTheScopeInWhichItIsPossible) {
  for (const IdState state :
       {IdState::kDead, IdState::kUncertain, IdState::kRetrying, IdState::kDying}) {
    SCOPED_TRACE(ToString(state));
    operations_.discards.clear();
    operations_.ids = {{.scope = NamedScope("audit"), .record = {.state = IdState::kCompleted}},
                       {.scope = scope_, .record = {.state = state}}};
    EXPECT_EQ(Decide(MessageAction::kDiscard, {{.id = "a"}}).code, kDone);
    EXPECT_THAT(operations_.discards, ElementsAre(Pair(scope_, "a")));
  }
  operations_.ids[0].record.state = IdState::kDead;
  EXPECT_EQ(Decide(MessageAction::kDiscard, {{.id = "a"}}).code, kUsage);
}

TEST_F(MessageCommand, DiscardByNumberKnowsBothKindsOfLetters) {
  operations_.failures = {FailureOf(1, ""), FailureOf(2, "a")};
  EXPECT_EQ(Decide(MessageAction::kDiscard, {{.number = 1}, {.number = 2}}).code, kDone);
  EXPECT_THAT(operations_.dropped, ElementsAre(1));
  EXPECT_THAT(operations_.discards, ElementsAre(Pair(scope_, "a")));
}

TEST_F(MessageCommand, ResolveHappenedCompletesTheUncertainOne) {
  operations_.ids = {{.scope = NamedScope("audit"), .record = {.state = IdState::kCompleted}},
                     {.scope = scope_, .record = {.state = IdState::kUncertain}}};
  EXPECT_EQ(Decide(MessageAction::kResolveHappened, {{.id = "a"}}).code, kDone);
  EXPECT_THAT(operations_.resolves, ElementsAre(Pair(scope_, "a")));
  EXPECT_THAT(operations_.redrives, IsEmpty());
}

TEST_F(MessageCommand, ResolveNotHappenedSendsTheUncertainOneAround) {
  operations_.failures = {FailureOf(1, "a")};
  operations_.failures[0].state = IdState::kUncertain;
  const Report redriven = Decide(MessageAction::kRedrive, {{.id = "a"}});
  EXPECT_EQ(redriven.code, kRefused) << "it may have happened";
  EXPECT_THAT(NotesOf(redriven), HasSubstr("--not-happened"));
  EXPECT_EQ(Decide(MessageAction::kResolveNotHappened, {{.id = "a"}}).code, kDone);
  EXPECT_THAT(operations_.redrives, SizeIs(1));
  EXPECT_THAT(operations_.resolves, IsEmpty());
  operations_.failures[0].state = IdState::kDead;
  const Report dead = Decide(MessageAction::kResolveNotHappened, {{.id = "a"}});
  EXPECT_EQ(dead.code, kRefused);
  EXPECT_THAT(NotesOf(dead), HasSubstr("once redrive"));
}

TEST_F(MessageCommand, AnUncertainCallThatLeftNoLetterIsNotSentAround) {
  operations_.ids = {{.scope = NamedScope("refunds"), .record = {.state = IdState::kUncertain}}};
  const Report report = Decide(MessageAction::kResolveNotHappened, {{.id = "a"}});
  EXPECT_EQ(report.code, kNotFound);
  EXPECT_THAT(NotesOf(report), HasSubstr("it is uncertain in scope refunds"));
  EXPECT_THAT(NotesOf(report), HasSubstr("once discard ID"));
  EXPECT_EQ(Decide(MessageAction::kResolveHappened, {{.id = "a"}}).code, kDone);
}

// A claim store on a server: the id may run again, and the person must know that nothing is sent.
TEST_F(MessageCommand, WhereNoLettersAreKeptTheIdAloneIsRedriven) {
  operations_.listed = absl::UnimplementedError("no letters");
  operations_.ids = {{.scope = scope_, .record = {.state = IdState::kDead}}};
  const Report report = Decide(MessageAction::kRedrive, {{.id = "a"}});
  EXPECT_EQ(report.code, kDone) << NotesOf(report);
  ASSERT_THAT(operations_.redrives, SizeIs(1));
  EXPECT_EQ(operations_.redrives[0].number, 0);
  EXPECT_EQ(operations_.redrives[0].row.scope, scope_);
  EXPECT_EQ(operations_.redrives[0].row.id, "a");
  EXPECT_THAT(report.text, HasSubstr("publish the message from the dead-letter topic"));
  EXPECT_EQ(Decide(MessageAction::kResolveNotHappened, {{.id = "a"}}).code, kRefused)
      << "it is certain";
  operations_.ids[0].record.state = IdState::kUncertain;
  EXPECT_EQ(Decide(MessageAction::kRedrive, {{.id = "a"}}).code, kRefused) << "it is not";
  EXPECT_EQ(Decide(MessageAction::kResolveNotHappened, {{.id = "a"}}).code, kDone);
  EXPECT_THAT(operations_.redrives, SizeIs(2));
  EXPECT_EQ(Decide(MessageAction::kRedrive, {{.number = 7}}).code, kRefused) << "no such letters";
}

TEST_F(MessageCommand, SomeOfSeveralMayFail) {
  operations_.failures = {FailureOf(1, "a"), FailureOf(2, "c")};
  const Report report = Decide(MessageAction::kRedrive, {{.id = "a"}, {.id = "b"}, {.id = "c"}});
  EXPECT_EQ(report.code, kPartlyFailed);
  EXPECT_THAT(operations_.redrives, SizeIs(2));
  EXPECT_EQ(report.document["complete"], false);
  ASSERT_EQ(report.document["outcomes"].size(), 3);
  EXPECT_EQ(report.document["outcomes"][1]["error"]["code"], "not_found");
  EXPECT_FALSE(report.document["outcomes"][2].contains("error"));
  EXPECT_EQ(Decide(MessageAction::kRedrive, {{.id = "x"}, {.id = "y"}}).code, kNotFound)
      << "all failed, for one reason";
}

TEST_F(MessageCommand, TheStoresRefusalAndADoubtAreToldApart) {
  operations_.failures = {FailureOf(1, "a")};
  operations_.changed = absl::FailedPreconditionError("the id is completed, not dead");
  const Report refused = Decide(MessageAction::kRedrive, {{.id = "a"}});
  EXPECT_EQ(refused.code, kRefused);
  EXPECT_EQ(refused.document["error"]["message"], "the id is completed, not dead");
  operations_.changed = absl::UnknownError("no answer; it may have been done all the same");
  EXPECT_EQ(Decide(MessageAction::kRedrive, {{.id = "a"}}).code, kUnreachable);
  operations_.changed = absl::DataLossError("damaged");
  EXPECT_EQ(Decide(MessageAction::kRedrive, {{.id = "a"}}).code, kFailed);
}

}  // namespace
}  // namespace once::cli
