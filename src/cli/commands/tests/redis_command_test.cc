// The `once` command on a Redis claim store, beside a process that has it open.
#include <cstdlib>

#include <gmock/gmock.h>

#include "adapters/redis/tests/claim_words.h"
#include "adapters/redis/tests/redis_server.h"
#include "adapters/redis/tests/spool_words.h"
#include "once/redis/store.h"
#include "src/cli/exit_code.h"
#include "tests/once_command.h"

namespace once::cli {
namespace {

using once::testing::CommandResult;
using once::testing::RunOnce;
using redis::testing::RedisServer;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class StoreOnRedis : public ::testing::Test {
 protected:
  CommandResult Once(std::vector<std::string> words) {
    words.insert(words.end(), {"--json", "--store", server_.url() + "#" + prefix_});
    return RunOnce(std::move(words));
  }
  void LeaveDead(const std::string& id, Disposition disposition) {
    const auto owner = redis::testing::TryClaim(*store_, id);
    ASSERT_TRUE(owner.ok()) << owner.status();
    const DyingClaim dying{.claim = owner->claim(), .disposition = disposition, .attempt = 1};
    const Claim claim = owner->claim();
    absl::Status outcome;
    ASSERT_TRUE(store_->claims()->Dying({&dying, 1}, {&outcome, 1}).ok());
    ASSERT_TRUE(store_->claims()->Kill({&claim, 1}, {&outcome, 1}).ok());
    ASSERT_TRUE(outcome.ok()) << outcome;
  }
  IdState StateOf(const std::string& id) {
    const auto found = store_->operations()->FindId(id);
    EXPECT_TRUE(found.ok() && found->size() == 1) << found.status();
    return found.ok() && found->size() == 1 ? found->front().record.state : IdState::kAbsent;
  }

  RedisServer server_;
  const std::string prefix_ = "billing:";
  const std::shared_ptr<DedupStore> store_ =
      redis::testing::MustOpen({.url = server_.url(), .key_prefix = prefix_});
};

TEST_F(StoreOnRedis, ShowsFiguresAndChecksItself) {
  redis::testing::LeaveCompleted(*store_, "order-1");
  const CommandResult stats = Once({"store", "stats"});
  EXPECT_EQ(stats.code, kDone) << stats.errors;
  EXPECT_EQ(stats.Json()["through"], "server");
  EXPECT_EQ(stats.Json()["figures"]["completed_ids_count"], 1);
  EXPECT_EQ(Once({"store", "compact"}).code, kDone);
  EXPECT_EQ(Once({"store", "verify"}).code, kDone);
  server_.Ask({"SET", prefix_ + "{foreign}", "x"});
  const CommandResult damaged = Once({"store", "verify"});
  EXPECT_EQ(damaged.code, kFoundProblems);
  EXPECT_EQ(damaged.Json()["findings"].size(), 1);
  EXPECT_THAT(damaged.errors, AllOf(HasSubstr("who else"), Not(HasSubstr("restore a backup"))));
}

TEST_F(StoreOnRedis, RefusesABackupAndSaysWhy) {
  const CommandResult refused = Once({"store", "backup", "/tmp/copy"});
  EXPECT_EQ(refused.code, kRefused);
  EXPECT_THAT(refused.errors, HasSubstr("BGSAVE"));
}

TEST_F(StoreOnRedis, LetsADeadIdRunAgainAndSaysWhereItsMessageIs) {
  LeaveDead("order-7", Disposition::kRejected);
  const CommandResult redriven = Once({"redrive", "order-7"});
  EXPECT_EQ(redriven.code, kDone) << redriven.errors;
  EXPECT_THAT(redriven.output, AllOf(HasSubstr("dead-letter topic"), HasSubstr("order-7")));
  EXPECT_EQ(StateOf("order-7"), IdState::kRetrying);
  EXPECT_EQ(redis::testing::Ask(*store_, "order-7"), ClaimVerdict::kFresh);
  EXPECT_EQ(Once({"redrive", "order-7"}).code, kRefused) << "somebody is at it";
  EXPECT_EQ(Once({"redrive", "nobody"}).code, kNotFound);
}

TEST_F(StoreOnRedis, SettlesWhatIsUncertainEitherWay) {
  for (const char* const id : {"a", "b", "c"}) LeaveDead(id, Disposition::kUncertain);
  const CommandResult refused = Once({"redrive", "a"});
  EXPECT_EQ(refused.code, kRefused);
  EXPECT_THAT(refused.errors, HasSubstr("--not-happened"));
  EXPECT_EQ(Once({"resolve", "a", "--happened"}).code, kDone);
  EXPECT_EQ(StateOf("a"), IdState::kCompleted);
  EXPECT_EQ(Once({"resolve", "b", "--not-happened"}).code, kDone);
  EXPECT_EQ(StateOf("b"), IdState::kRetrying);
  EXPECT_EQ(Once({"discard", "c", "--yes"}).code, kDone);
  EXPECT_EQ(StateOf("c"), IdState::kDiscarded);
  LeaveDead("d", Disposition::kRejected);
  const CommandResult certain = Once({"resolve", "d", "--not-happened"});
  EXPECT_EQ(certain.code, kRefused);
  EXPECT_THAT(certain.errors, HasSubstr("not uncertain"));
}

TEST_F(StoreOnRedis, NamesTheWayOutWhereItHasNothing) {
  const CommandResult positions = Once({"position", "show"});
  EXPECT_EQ(positions.code, kRefused);
  EXPECT_THAT(positions.errors, HasSubstr("committed offset"));
  const CommandResult letters = Once({"failures", "list"});
  EXPECT_EQ(letters.code, kRefused);
  EXPECT_THAT(letters.errors, HasSubstr("dead-letter topic"));
}

TEST_F(StoreOnRedis, IsNeverCreatedAndItsPasswordIsNotShown) {
  EXPECT_EQ(RunOnce({"store", "stats", "--store", server_.url() + "#nothing:"}).code, kNotFound);
  server_.Ask({"CONFIG", "SET", "requirepass", "geheim"});
  EXPECT_EQ(Once({"store", "stats"}).code, kRefused) << "no password";
  ::setenv("REDISCLI_AUTH", "geheim", 1);
  const CommandResult stats = Once({"store", "stats"});
  ::unsetenv("REDISCLI_AUTH");
  EXPECT_EQ(stats.code, kDone) << stats.errors;
  EXPECT_THAT(stats.output + stats.errors, Not(HasSubstr("geheim")));
  const CommandResult away = RunOnce(
      {"store", "stats", "--timeout", "200ms", "--store", "redis://me:geheim@127.0.0.1:1/0"});
  EXPECT_EQ(away.code, kUnreachable) << away.errors;
  EXPECT_THAT(away.output + away.errors, Not(HasSubstr("geheim")));
}

// An operator is needed most where the server is set wrong.
TEST_F(StoreOnRedis, IsReachedWhateverItsServerForgets) {
  server_.Ask({"CONFIG", "SET", "maxmemory-policy", "allkeys-lru"});
  EXPECT_EQ(Once({"store", "stats"}).code, kDone);
}

// A spool that processes share is reached beside them, and is no store.
TEST(SpoolOnRedis, WhatIsParkedIsListedTriedAgainAndGivenUp) {
  RedisServer server;
  const auto spool =
      redis::testing::MustOpenSpool({.server = {.url = server.url()}, .key_prefix = "shop:"});
  ASSERT_NE(spool, nullptr);
  const std::string place = "spool+" + server.url() + "#shop:";
  const OutgoingMessage messages[] = {redis::testing::MessageOf("first"),
                                      redis::testing::MessageOf("second")};
  ASSERT_TRUE(redis::testing::AppendTo(*spool, 1, messages).ok());
  OutgoingLog& log = spool->outgoing();
  ASSERT_TRUE(log.HoldLanes().ok());
  const std::int64_t number = log.ListWaiting(0, 1).value().at(0).number;
  const auto park = [&] {
    const int lane = static_cast<int>(number % 16);
    ASSERT_TRUE(log.FindUnplaced(lane, {.rows_max = 10, .bytes_max = 1000}).ok());
    const RefusedRow refused{.number = number, .reason = absl::InvalidArgumentError("too large")};
    ASSERT_TRUE(log.Advance({.refused = {&refused, 1}}).ok());
  };
  park();
  const CommandResult listed = RunOnce({"outbox", "list", "--json", "--store", place});
  EXPECT_EQ(listed.code, kDone) << listed.errors;
  EXPECT_EQ(listed.Json()["parked"], 1);
  EXPECT_EQ(listed.Json()["waiting"], 2);
  const std::string name = std::to_string(number);
  EXPECT_EQ(RunOnce({"outbox", "retry", "--number", name, "--store", place}).code, kDone);
  EXPECT_EQ(log.Count().value().parked, 0u);
  park();
  const CommandResult given_up = RunOnce({"outbox", "discard", "--number", name, "--reason",
                                          "sent by hand", "--yes", "--store", place});
  EXPECT_EQ(given_up.code, kDone) << given_up.errors;
  EXPECT_EQ(log.Count().value().waiting, 1u);
  const CommandResult positions = RunOnce({"position", "show", "--store", place});
  EXPECT_THAT(positions.errors, HasSubstr("a spool keeps neither"));
  EXPECT_EQ(RunOnce({"outbox", "list", "--store", place + "nothing:"}).code, kNotFound);
}

}  // namespace
}  // namespace once::cli
