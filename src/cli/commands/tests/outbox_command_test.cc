// What `once outbox` shows and does, on a store in memory.
#include "src/cli/commands/outbox_command.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "once/memory/store.h"
#include "once/transact.h"
#include "src/cli/commands/tests/command_scene.h"

namespace once::cli {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Kind = OutboxListOptions::Kind;

class OutboxCommand : public CommandScene {
 protected:
  OutgoingLog& log() { return *store_->transactions()->outgoing(); }
  CommandContext Opened() {
    CommandContext context = Context();
    context.outgoing = &log();
    context.now = now_ + absl::Minutes(90);
    return context;
  }

  void Publish(const std::string& topic, const std::string& key, const std::string& id) {
    OutgoingMessage message{.topic = topic, .key = key, .value = "v"};
    if (!id.empty()) message.headers = {{"once-id", id}};
    const absl::Status published =
        Transact(*store_, [&](Transaction& transaction) { return transaction.Publish(message); });
    ASSERT_TRUE(published.ok()) << published;
  }
  // All of these ids, as a relay does.
  void Park(const std::vector<std::string>& ids) {
    const auto rows = log().FindUnplaced(0, {.rows_max = 10'000, .bytes_max = 100'000'000});
    ASSERT_TRUE(rows.ok()) << rows.status();
    std::vector<RefusedRow> refused;
    for (const OutgoingRow& row : *rows) {
      if (std::find(ids.begin(), ids.end(), IdOf(row.message)) == ids.end()) continue;
      refused.push_back({.number = row.number, .reason = absl::InvalidArgumentError("no topic")});
    }
    ASSERT_TRUE(log().Advance({.refused = refused}).ok());
  }
  // Two that wait, two that are parked, of two topics; one of them behind a parked one.
  void Fill() {
    Publish("orders", "k", "a");
    Publish("orders", "l", "b");
    Publish("mails", "k", "c");
    Publish("orders", "k", "d");
    Park({"a", "c"});
  }

  static std::vector<std::string> IdsOf(const Report& report) {
    std::vector<std::string> ids;
    for (const auto& message : report.document["messages"]) {
      ids.push_back(message["id"].is_null() ? "null" : message["id"].get<std::string>());
    }
    return ids;
  }

  absl::Time now_ = absl::FromUnixSeconds(1'700'000'000);
  std::shared_ptr<memory::Store> store_ = memory::OpenStore({.now = [this] { return now_; }});
};

TEST_F(OutboxCommand, ListsWhatWaitsAndWhatIsParkedAndWhy) {
  Fill();
  CommandContext context = Opened();
  const Report report = ListOutbox(context, {});
  EXPECT_EQ(report.code, kDone);
  EXPECT_EQ(report.document["waiting"], 4);
  EXPECT_EQ(report.document["parked"], 2);
  EXPECT_EQ(report.document["complete"], true);
  EXPECT_THAT(IdsOf(report), ElementsAre("a", "b", "c", "d"));
  const auto& parked = report.document["messages"][0];
  EXPECT_EQ(parked["state"], "parked");
  EXPECT_EQ(parked["topic"], "orders");
  EXPECT_EQ(parked["key"], "k");
  EXPECT_EQ(parked["age_seconds"], 5400);
  EXPECT_THAT(parked["reason"].get<std::string>(), HasSubstr("no topic"));
  EXPECT_EQ(report.document["messages"][1]["state"], "waiting");
  EXPECT_THAT(report.text, AllOf(HasSubstr("REASON"), HasSubstr("no topic"), HasSubstr("1h30m")));
  EXPECT_THAT(NotesOf(report), HasSubstr("4 messages wait, 2 of them parked"));
}

TEST_F(OutboxCommand, SelectsByTopicAndState) {
  Fill();
  CommandContext context = Opened();
  EXPECT_THAT(IdsOf(ListOutbox(context, {.kind = Kind::kParked})), ElementsAre("a", "c"));
  EXPECT_THAT(IdsOf(ListOutbox(context, {.topic = "mails"})), ElementsAre("c"));
  EXPECT_THAT(IdsOf(ListOutbox(context, {.kind = Kind::kParked, .topic = "orders"})),
              ElementsAre("a"));
  EXPECT_EQ(ListOutbox(context, {.is_check = true}).code, kFoundProblems);
}

TEST_F(OutboxCommand, AnEmptyOutboxIsFine) {
  CommandContext context = Opened();
  const Report report = ListOutbox(context, {.is_check = true});
  EXPECT_EQ(report.code, kDone);
  EXPECT_THAT(IdsOf(report), IsEmpty());
  EXPECT_TRUE(report.document["oldest_put_at"].is_null());
}

TEST_F(OutboxCommand, AnswersAreBoundedAndSayHowToGoOn) {
  for (int i = 0; i < 250; ++i) Publish("orders", "k", absl::StrCat("id", 1000 + i));
  CommandContext context = Opened();
  std::vector<std::string> all;
  OutboxListOptions options{.rows_max = 120};
  for (int i = 0; i < 3; ++i) {
    const Report report = ListOutbox(context, options);
    const std::vector<std::string> ids = IdsOf(report);
    all.insert(all.end(), ids.begin(), ids.end());
    EXPECT_EQ(report.document["complete"], i == 2);
    if (i == 2) break;
    EXPECT_THAT(ids, SizeIs(120));
    options.after = report.document["next_after"].get<std::int64_t>();
    EXPECT_THAT(NotesOf(report), HasSubstr(absl::StrCat("--after ", options.after)));
  }
  EXPECT_THAT(all, SizeIs(250));
  EXPECT_EQ(all.back(), "id1249");
}

TEST_F(OutboxCommand, ParkedMessagesAreTriedAgainById) {
  Fill();
  CommandContext context = Opened();
  const Report report = RetryOutbox(context, {{.id = "a"}});
  EXPECT_EQ(report.code, kDone) << report.document.dump();
  EXPECT_EQ(report.document["outcomes"][0]["id"], "a");
  EXPECT_THAT(IdsOf(ListOutbox(context, {.kind = Kind::kParked})), ElementsAre("c"));
  EXPECT_THAT(questions_, IsEmpty());
  EXPECT_EQ(RetryOutbox(context, {{.id = "a"}}).code, kNotFound) << "it is not parked any more";
  const Report some = RetryOutbox(context, {{.id = "c"}, {.number = 999}});
  EXPECT_EQ(some.code, kPartlyFailed);
  EXPECT_EQ(some.document["complete"], false);
}

TEST_F(OutboxCommand, AllParkedMessagesOfATopicAreTriedAgain) {
  Fill();
  Park({"b"});
  CommandContext context = Opened();
  const Report report = RetryOutboxTopic(context, "orders");
  EXPECT_EQ(report.document["retried_messages"], 2);
  EXPECT_THAT(IdsOf(ListOutbox(context, {.kind = Kind::kParked})), ElementsAre("c"));
  EXPECT_EQ(RetryOutboxTopic(context, "orders").code, kNotFound);
}

TEST_F(OutboxCommand, ADiscardNeedsAWordAndKeepsItsReason) {
  Fill();
  CommandContext context = Opened();
  is_confirmed_ = false;
  EXPECT_EQ(DiscardFromOutbox(context, {.id = "a"}, "sent by hand").code, kRefused);
  EXPECT_THAT(questions_, ElementsAre(HasSubstr("Discard a?")));
  EXPECT_EQ(log().Count().value().parked, 2U);
  is_confirmed_ = true;
  const Report report = DiscardFromOutbox(context, {.id = "a"}, "sent by hand");
  EXPECT_EQ(report.code, kDone) << report.document.dump();
  EXPECT_THAT(IdsOf(ListOutbox(context, {})), ElementsAre("b", "c", "d"));
  const Report discarded = ListOutbox(context, {.kind = Kind::kDiscarded});
  EXPECT_THAT(IdsOf(discarded), ElementsAre("a"));
  EXPECT_EQ(discarded.document["messages"][0]["reason"], "sent by hand");
  EXPECT_EQ(discarded.document["messages"][0]["state"], "discarded");
}

TEST_F(OutboxCommand, WhatOnlyWaitsIsNotDiscarded) {
  Fill();
  CommandContext context = Opened();
  EXPECT_EQ(DiscardFromOutbox(context, {.id = "b"}, "why").code, kNotFound);
  const auto rows = log().ListWaiting(0, 10).value();
  EXPECT_EQ(DiscardFromOutbox(context, {.number = rows[1].number}, "why").code, kNotFound);
  EXPECT_EQ(log().Count().value().waiting, 4U);
}

TEST_F(OutboxCommand, AnIdThatSeveralHaveIsNotDiscardedByChance) {
  Publish("orders", "k", "twice");
  Publish("mails", "k", "twice");
  Park({"twice"});
  CommandContext context = Opened();
  const Report report = DiscardFromOutbox(context, {.id = "twice"}, "why");
  EXPECT_EQ(report.code, kUsage);
  EXPECT_THAT(NotesOf(report), HasSubstr("--number"));
  EXPECT_EQ(log().Count().value().parked, 2U);
}

TEST_F(OutboxCommand, AStoreWithoutAnOutboxSaysSo) {
  CommandContext context = Context();
  EXPECT_EQ(ListOutbox(context, {}).code, kRefused);
  EXPECT_EQ(RetryOutboxTopic(context, "orders").code, kRefused);
  EXPECT_EQ(RetryOutbox(context, {{.id = "a"}}).code, kRefused);
  EXPECT_EQ(DiscardFromOutbox(context, {.id = "a"}, "why").code, kRefused);
}

}  // namespace
}  // namespace once::cli
