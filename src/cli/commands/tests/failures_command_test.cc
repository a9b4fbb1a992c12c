// Dead letters as a list and one by one.
#include "src/cli/commands/failures_command.h"

#include "src/cli/commands/tests/command_scene.h"

namespace once::cli {
namespace {

using ::testing::AllOf;
using testing::FailureOf;
using ::testing::HasSubstr;
using ::testing::Not;

class FailuresCommand : public CommandScene {};

TEST_F(FailuresCommand, ListsWhatHappenedWithoutThePayload) {
  operations_.failures = {FailureOf(1, "order-7")};
  CommandContext context = Context();
  const Report report = ListFailures(context, {});
  EXPECT_EQ(report.code, kDone);
  EXPECT_THAT(report.text,
              AllOf(HasSubstr("order-7"), HasSubstr("orders[3]@10"), HasSubstr("rejected"),
                    HasSubstr("dead"), HasSubstr("NOT_FOUND"), HasSubstr("no such account"),
                    HasSubstr("group billing, topic orders"), Not(HasSubstr("4711"))));
  EXPECT_EQ(report.document["complete"], true);
  const auto& failure = report.document["failures"][0];
  EXPECT_EQ(failure["number"], 1);
  EXPECT_EQ(failure["id"], "order-7");
  EXPECT_EQ(failure["attempts"], 2);
  EXPECT_EQ(failure["offset"], 10);
  EXPECT_EQ(failure["published"], true);
  EXPECT_EQ(failure["scope_in_words"], "group billing, topic orders");
  EXPECT_FALSE(failure.contains("value"));
}

TEST_F(FailuresCommand, SaysThatThereAreMoreAndHowToGoOn) {
  for (int i = 1; i <= 250; ++i) operations_.failures.push_back(FailureOf(i, "id"));
  CommandContext context = Context();
  const Report first = ListFailures(context, {.letters_max = 120});
  EXPECT_EQ(first.document["complete"], false);
  EXPECT_EQ(first.document["failures"].size(), 120);
  EXPECT_EQ(first.document["next_after"], 120);
  EXPECT_THAT(NotesOf(first), HasSubstr("--after 120"));
  const Report rest = ListFailures(context, {.after = 120});
  EXPECT_EQ(rest.document["complete"], true);
  EXPECT_EQ(rest.document["failures"].size(), 130);
  const Report exact = ListFailures(context, {.letters_max = 250});
  EXPECT_EQ(exact.document["complete"], true) << "exactly as many as there are";
}

TEST_F(FailuresCommand, FiltersByIdScopeAndTopic) {
  operations_.failures = {FailureOf(1, "a"), FailureOf(2, "b"), FailureOf(3, "b")};
  operations_.failures[2].scope = NamedScope("audit");
  operations_.failures[2].origin.key.partition.topic = "other";
  CommandContext context = Context();
  EXPECT_EQ(ListFailures(context, {.id = "b"}).document["failures"].size(), 2);
  EXPECT_EQ(ListFailures(context, {.scope = "audit"}).document["failures"].size(), 1);
  EXPECT_EQ(ListFailures(context, {.topic = "orders"}).document["failures"].size(), 2);
}

TEST_F(FailuresCommand, ACheckFailsWhenThereIsAny) {
  CommandContext context = Context();
  const Report none = ListFailures(context, {.is_check = true});
  EXPECT_EQ(none.code, kDone);
  EXPECT_THAT(NotesOf(none), HasSubstr("no dead letters"));
  operations_.failures = {FailureOf(1, "a")};
  EXPECT_EQ(ListFailures(context, {.is_check = true}).code, kFoundProblems);
}

TEST_F(FailuresCommand, ShowsHeadersAndMasksThePayload) {
  operations_.failures = {FailureOf(1, "order-7")};
  CommandContext context = Context();
  const Report masked = ShowLetters(context, {.id = "order-7"}, LetterDetail::kHeaders);
  EXPECT_THAT(masked.text, AllOf(HasSubstr("trace = t-1"), HasSubstr("null = null"),
                                 HasSubstr("12 bytes, masked"), Not(HasSubstr("4711"))));
  EXPECT_EQ(masked.document["failures"][0]["value"]["bytes"], 12);
  EXPECT_FALSE(masked.document["failures"][0]["value"].contains("text"));
  const Report shown = ShowLetters(context, {.id = "order-7"}, LetterDetail::kPayload);
  EXPECT_THAT(shown.text, HasSubstr("account 4711"));
  EXPECT_EQ(shown.document["failures"][0]["value"]["text"], "account 4711");
  EXPECT_EQ(shown.document["failures"][0]["headers"].size(), 3) << "ours are told in words";
}

TEST_F(FailuresCommand, ShowsAPayloadThatIsNoText) {
  operations_.failures = {FailureOf(1, "a"), FailureOf(2, "b")};
  operations_.failures[0].letter.value = "\xff\x01";
  operations_.failures[1].letter.value = std::nullopt;
  CommandContext context = Context();
  const Report bytes = ShowLetters(context, {.id = "a"}, LetterDetail::kPayload);
  EXPECT_EQ(bytes.document["failures"][0]["value"]["base64"], "/wE=");
  EXPECT_THAT(bytes.text, HasSubstr("\\xff\\x01"));
  EXPECT_EQ(
      ShowLetters(context, {.id = "b"}, LetterDetail::kPayload).document["failures"][0]["value"],
      nullptr);
}

TEST_F(FailuresCommand, FindsALetterWithoutAnIdByItsNumber) {
  operations_.failures = {FailureOf(1, ""), FailureOf(2, "x")};
  CommandContext context = Context();
  const Report report = ShowLetters(context, {.number = 1}, LetterDetail::kHeaders);
  EXPECT_EQ(report.document["failures"].size(), 1);
  EXPECT_EQ(report.document["failures"][0]["id"], nullptr);
  EXPECT_EQ(ShowLetters(context, {.number = 3}, LetterDetail::kHeaders).code, kNotFound);
}

TEST_F(FailuresCommand, SaysWhatIsKnownOfAnIdThatHasNoLetter) {
  operations_.ids = {
      {.scope = GroupTopicScope("billing", "orders"), .record = {.state = IdState::kCompleted}}};
  CommandContext context = Context();
  const Report report = ShowLetters(context, {.id = "x"}, LetterDetail::kHeaders);
  EXPECT_EQ(report.code, kNotFound);
  EXPECT_THAT(NotesOf(report), HasSubstr("it is completed in group billing, topic orders"));
}

TEST_F(FailuresCommand, PassesOnWhatTheStoreSays) {
  class Unreachable : public testing::ScriptedOperations {
    absl::StatusOr<std::vector<StoredFailure>> FindFailures(const FailureQuery&) override {
      return absl::DeadlineExceededError("it does not answer");
    }
  } unreachable;
  CommandContext context{.operations = unreachable, .random = *random_, .executor = executor_};
  EXPECT_EQ(ListFailures(context, {}).code, kUnreachable);
}

}  // namespace
}  // namespace once::cli
