// Messages that go with transactions of somebody else.
#include "adapters/postgres/tests/former_format.h"
#include "adapters/postgres/tests/relay_scene.h"

namespace once::postgres {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class PublishTest : public StoreScene {
 protected:
  void SetUp() override { MustOpen(); }

  absl::Status Publish(const UsersSession& session, const OutgoingMessage& message,
                       bool locks_keys = true) {
    return PublishIn(session.get(), message, {.schema = schema().name(), .locks_keys = locks_keys});
  }
  std::vector<std::string> Values() {
    ToldMessages told;
    const auto relay = MustCreateRelay(store_, told);
    RunUntilIdle(*relay);
    std::vector<std::string> values;
    for (const auto& one : told.told()) values.push_back(one.value);
    return values;
  }
};

TEST_F(PublishTest, AMessageIsSentWithTheUsersTransaction) {
  const UsersSession session(connection());
  session.MustRun("BEGIN");
  session.MustRun("INSERT INTO " + schema().effects() + "(body) VALUES('booked')");
  ASSERT_TRUE(Publish(session, MessageOf("k", "booked")).ok());
  EXPECT_THAT(Values(), IsEmpty()) << "not committed";
  session.MustRun("COMMIT");
  EXPECT_THAT(Values(), ElementsAre("booked"));
  EXPECT_THAT(Effects(), ElementsAre("booked"));
}

TEST_F(PublishTest, NothingIsSentOfARollback) {
  const UsersSession session(connection());
  session.MustRun("BEGIN");
  ASSERT_TRUE(Publish(session, MessageOf("k", "lost")).ok());
  session.MustRun("ROLLBACK");
  session.MustRun("BEGIN");
  ASSERT_TRUE(Publish(session, MessageOf("k", "before")).ok());
  session.MustRun("SAVEPOINT mine");
  ASSERT_TRUE(Publish(session, MessageOf("k", "taken back")).ok());
  session.MustRun("ROLLBACK TO SAVEPOINT mine");
  ASSERT_TRUE(Publish(session, MessageOf("k", "after")).ok());
  session.MustRun("COMMIT");
  EXPECT_THAT(Values(), ElementsAre("before", "after"));
}

TEST_F(PublishTest, MessagesOfOneCallKeepTheirOrder) {
  const UsersSession session(connection());
  session.MustRun("BEGIN");
  std::vector<OutgoingMessage> messages;
  std::vector<std::string> values;
  for (int i = 0; i < 300; ++i) {
    values.push_back(absl::StrCat(i));
    messages.push_back(MessageOf("k", values.back()));
  }
  // Not all of them fit into one statement.
  messages[100].headers = {{"large", std::string(kInsertBytesMax, 'x')}};
  ASSERT_TRUE(PublishIn(session.get(), messages, {.schema = schema().name()}).ok());
  ASSERT_TRUE(
      PublishIn(session.get(), std::span<const OutgoingMessage>(), {.schema = schema().name()})
          .ok());
  session.MustRun("COMMIT");
  EXPECT_EQ(Values(), values);
}

TEST_F(PublishTest, WhoPublishesForAKeyWaitsForTheOneBeforeHim) {
  const std::vector<std::string> keys = KeysOfOneLane(2);
  const UsersSession first(connection());
  const UsersSession second(connection());
  first.MustRun("BEGIN");
  ASSERT_TRUE(Publish(first, MessageOf(keys[0], "1")).ok());
  second.MustRun("BEGIN; SET LOCAL lock_timeout TO '100ms'");
  EXPECT_TRUE(Publish(second, MessageOf(keys[1], "another key")).ok());
  EXPECT_TRUE(Publish(second, {.topic = "orders", .value = "no key"}).ok());
  EXPECT_TRUE(Publish(second, MessageOf(keys[0], "unlocked"), false).ok());
  EXPECT_THAT(Publish(second, MessageOf(keys[0], "2")),
              Says(absl::StatusCode::kUnavailable, "another transaction holds it"));
  EXPECT_THAT(Publish(second, MessageOf(keys[1], "3")),
              Says(absl::StatusCode::kFailedPrecondition, "roll it back"));
  second.MustRun("ROLLBACK");
  first.MustRun("COMMIT");
  second.MustRun("BEGIN");
  EXPECT_TRUE(Publish(second, MessageOf(keys[0], "2")).ok());
  second.MustRun("COMMIT");
  EXPECT_THAT(Values(), ElementsAre("1", "2"));
}

TEST_F(PublishTest, AStoresTransactionWaitsToo) {
  const UsersSession user(connection());
  user.MustRun("BEGIN");
  ASSERT_TRUE(Publish(user, MessageOf("k", "1")).ok());
  const auto publish = [&] {
    return Transact(
        *store_, [](Transaction& transaction) { return transaction.Publish(MessageOf("k", "2")); });
  };
  EXPECT_EQ(publish().code(), absl::StatusCode::kUnavailable);
  user.MustRun("COMMIT");
  EXPECT_TRUE(publish().ok());
  EXPECT_THAT(Values(), ElementsAre("1", "2"));
}

TEST_F(PublishTest, WhatIsWrongIsToldWithTheWayOut) {
  const UsersSession session(connection());
  EXPECT_THAT(Publish(session, MessageOf("k", "1")),
              Says(absl::StatusCode::kFailedPrecondition, "begin one"));
  session.MustRun("BEGIN");
  EXPECT_THAT(Publish(session, {.topic = "a/b"}), Says(absl::StatusCode::kInvalidArgument, "a/b"));
  EXPECT_THAT(PublishIn(session.get(), MessageOf("k", "1"), {.schema = "A;B"}),
              Says(absl::StatusCode::kInvalidArgument, "PublishInOptions::schema"));
  EXPECT_TRUE(Publish(session, MessageOf("k", "goes on")).ok()) << "nothing had changed";
  EXPECT_THAT(PublishIn(session.get(), MessageOf("k", "1"), {.schema = "nobodys"}),
              Says(absl::StatusCode::kFailedPrecondition, "PublishInOptions::schema"));
  session.MustRun("ROLLBACK");
  PQsetnonblocking(session.get(), 1);
  session.MustRun("BEGIN");
  EXPECT_THAT(Publish(session, MessageOf("k", "1")),
              Says(absl::StatusCode::kFailedPrecondition, "pipeline mode"));
}

TEST_F(PublishTest, AStoreOfAnEarlierFormatSaysThatItMustBeOpenedOnce) {
  store_.reset();
  schema().EndSessions();
  ReturnToFormat4(connection(), schema().name());
  const UsersSession session(connection());
  session.MustRun("BEGIN");
  EXPECT_THAT(Publish(session, MessageOf("k", "1")),
              Says(absl::StatusCode::kFailedPrecondition, "open it once with OpenStore()"));
  session.MustRun("ROLLBACK");
  MustOpen();
  session.MustRun("BEGIN");
  EXPECT_TRUE(Publish(session, MessageOf("k", "1")).ok());
  session.MustRun("COMMIT");
  EXPECT_THAT(Values(), ElementsAre("1"));
}

TEST_F(PublishTest, ARoleNeedsFewRights) {
  const std::string role = schema().name() + "_user";
  const std::string name = schema().name();
  RunSql(connection(), "CREATE ROLE " + role);
  {
    const UsersSession session(connection());
    const auto publish = [&] {
      session.MustRun("BEGIN; SET LOCAL ROLE " + role);
      const absl::Status said = Publish(session, MessageOf("k", "1"));
      session.MustRun(said.ok() ? "COMMIT" : "ROLLBACK");
      return said;
    };
    EXPECT_THAT(publish(), Says(absl::StatusCode::kPermissionDenied, "grant the right"));
    RunSql(connection(),
           absl::StrCat("GRANT USAGE ON SCHEMA ", name, " TO ", role, "; GRANT INSERT ON ", name,
                        ".outgoing TO ", role, "; GRANT USAGE ON ALL SEQUENCES IN SCHEMA ", name,
                        " TO ", role));
    EXPECT_TRUE(publish().ok());
  }
  EXPECT_THAT(Values(), ElementsAre("1"));
  RunSql(connection(), "DROP OWNED BY " + role + "; DROP ROLE " + role);
}

TEST_F(PublishTest, RolesThatWorkOnAFormerStorePublishInTheNewOne) {
  const std::string role = schema().name() + "_user";
  store_.reset();
  schema().EndSessions();
  ReturnToFormat4(connection(), schema().name());
  RunSql(connection(),
         absl::StrCat("CREATE ROLE ", role, "; GRANT USAGE ON SCHEMA ", schema().name(), " TO ",
                      role, "; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ",
                      schema().name(), " TO ", role));
  MustOpen();
  {
    const UsersSession session(connection());
    session.MustRun("BEGIN; SET LOCAL ROLE " + role);
    const absl::Status said = Publish(session, MessageOf("k", "1"));
    EXPECT_TRUE(said.ok()) << said;
    session.MustRun("COMMIT");
  }
  EXPECT_THAT(Values(), ElementsAre("1"));
  RunSql(connection(), "DROP OWNED BY " + role + "; DROP ROLE " + role);
}

}  // namespace
}  // namespace once::postgres
