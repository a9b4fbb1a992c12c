// What the store asks of a server before it works on it, and what it says when that is missing.
#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "adapters/redis/tests/claim_words.h"
#include "adapters/redis/tests/redis_cluster.h"
#include "adapters/redis/tests/redis_server.h"
#include "once/redis/store.h"

namespace once::redis {
namespace {

using ::testing::AllOf;
using testing::Ask;
using ::testing::HasSubstr;
using testing::MustOpen;
using testing::NewPrefix;
using ::testing::Not;
using testing::RedisServer;
using testing::SharedServer;

absl::Status OpeningOf(StoreOptions options) { return OpenStore(std::move(options)).status(); }

TEST(RedisOpening, AServerThatMayForgetClaimsIsRefusedUnlessTheUserAcceptsIt) {
  RedisServer server({"maxmemory-policy allkeys-lru"});
  const absl::Status refused = OpeningOf({.url = server.url()});
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_THAT(refused.ToString(), AllOf(HasSubstr("allkeys-lru"), HasSubstr("noeviction"),
                                        HasSubstr("accept_eviction")));
  const auto store = MustOpen({.url = server.url(), .accept_eviction = true});
  EXPECT_EQ(store->traits().durability, Durability::kNothing);
  EXPECT_THAT(store->traits().weakness, HasSubstr("noeviction"));
}

TEST(RedisOpening, HowTheServerSyncsIsTheGuarantee) {
  const auto durability_of = [](const char* setting, const char* way_out) {
    RedisServer server({setting});
    const StoreTraits traits = MustOpen({.url = server.url()})->traits();
    EXPECT_THAT(traits.weakness, HasSubstr(way_out)) << setting;
    return traits.durability;
  };
  EXPECT_EQ(durability_of("appendfsync always", ""), Durability::kMachine);
  EXPECT_EQ(durability_of("appendfsync everysec", "set always"), Durability::kProcess);
  EXPECT_EQ(durability_of("appendfsync no", "set always"), Durability::kProcess);
  EXPECT_EQ(durability_of("no-appendfsync-on-rewrite yes", "set no"), Durability::kProcess);
  EXPECT_EQ(durability_of("appendonly no", "set appendonly yes"), Durability::kNothing);
}

TEST(RedisOpening, ATrustedServerHasNoWeakness) {
  EXPECT_EQ(MustOpen({.url = SharedServer().url()})->traits().weakness, "");
}

TEST(RedisOpening, TheStoreIsTheSameAtEveryOpeningAndCountsThem) {
  const std::string prefix = NewPrefix();
  const StoreTraits first = MustOpen({.url = SharedServer().url(), .key_prefix = prefix})->traits();
  const StoreTraits second =
      MustOpen({.url = SharedServer().url(), .key_prefix = prefix})->traits();
  EXPECT_EQ(first.id.size(), 32);
  EXPECT_EQ(second.id, first.id);
  EXPECT_EQ(first.open_count, 1);
  EXPECT_EQ(second.open_count, 2);
  EXPECT_TRUE(first.is_shared);
  EXPECT_NE(MustOpen({.url = SharedServer().url(), .key_prefix = NewPrefix()})->traits().id,
            first.id);
}

TEST(RedisOpening, AStoreThatMustExistIsNotBegunAnew) {
  const StoreOptions options{
      .url = SharedServer().url(), .key_prefix = NewPrefix(), .must_exist = true};
  const absl::Status missing = OpeningOf(options);
  EXPECT_TRUE(absl::IsNotFound(missing)) << missing;
  EXPECT_THAT(missing.ToString(), AllOf(HasSubstr(options.key_prefix), HasSubstr("must_exist")));
  EXPECT_TRUE(absl::IsNotFound(OpeningOf(options))) << "the refusal left nothing";
  MustOpen({.url = options.url, .key_prefix = options.key_prefix});
  EXPECT_TRUE(OpeningOf(options).ok());
}

TEST(RedisOpening, ANewerFormatIsRefused) {
  const std::string prefix = NewPrefix();
  SharedServer().Ask({"HSET", prefix + "{store}", "id", "x", "format", "2"});
  const absl::Status refused = OpeningOf({.url = SharedServer().url(), .key_prefix = prefix});
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_THAT(refused.ToString(), HasSubstr("format 2"));
}

TEST(RedisOpening, PrefixesPartStores) {
  const auto one = MustOpen({.url = SharedServer().url(), .key_prefix = NewPrefix()});
  const auto two = MustOpen({.url = SharedServer().url(), .key_prefix = NewPrefix()});
  EXPECT_EQ(Ask(*one, "id"), ClaimVerdict::kFresh);
  EXPECT_EQ(Ask(*two, "id"), ClaimVerdict::kFresh);
}

TEST(RedisOpening, DatabasesPartStores) {
  RedisServer server;
  const auto one = MustOpen({.url = server.url()});
  const auto two = MustOpen({.url = server.url() + "?database=3"});
  EXPECT_EQ(Ask(*one, "id"), ClaimVerdict::kFresh);
  EXPECT_EQ(Ask(*two, "id"), ClaimVerdict::kFresh);
}

TEST(RedisOpening, AReplicaIsRefused) {
  RedisServer server;
  server.Ask({"REPLICAOF", "127.0.0.1", "1"});
  const absl::Status refused = OpeningOf({.url = server.url()});
  EXPECT_TRUE(absl::IsUnavailable(refused)) << refused;
  EXPECT_THAT(refused.ToString(), HasSubstr("replica"));
}

TEST(RedisOpening, AClusterThatNobodyHasMadeIsRefused) {
  RedisServer server({"cluster-enabled yes", absl::StrCat("cluster-port ", testing::FindPort())});
  const absl::Status refused =
      OpeningOf({.url = server.url(), .call_timeout = absl::Milliseconds(200)});
  EXPECT_TRUE(absl::IsUnavailable(refused)) << refused;
  EXPECT_THAT(refused.ToString(), HasSubstr("redis-cli --cluster create"));
}

TEST(RedisOpening, ALoginIsNeededWhereTheServerAsksForOne) {
  RedisServer server;
  server.Ask({"CONFIG", "SET", "requirepass", "secret"});
  for (const std::string password : {"", "wrong"}) {
    const absl::Status refused = OpeningOf({.url = server.url(), .password = password});
    EXPECT_TRUE(absl::IsPermissionDenied(refused)) << refused;
    EXPECT_THAT(refused.ToString(), Not(HasSubstr("secret")));
  }
  EXPECT_TRUE(OpeningOf({.url = server.url(), .password = "secret"}).ok());
}

// The rights that the README asks for, and no more.
TEST(RedisOpening, AUserWithTheRightsOfTheStoreIsEnough) {
  RedisServer server;
  server.Ask({"ACL", "SETUSER", "clerk", "on", ">pass", "~once:*", "+@read", "+@write",
              "+@scripting", "+info", "+time", "+select", "+config|get"});
  const StoreOptions options{.url = server.url(), .user = "clerk", .password = "pass"};
  const auto store = MustOpen(options);
  testing::LeaveCompleted(*store, "id");
  EXPECT_TRUE(store->claims()->Sync().ok());
  EXPECT_EQ(store->traits().durability, Durability::kMachine);
}

TEST(RedisOpening, WhereSettingsAreSecretTheUserMustSayThem) {
  RedisServer server;
  server.Ask({"ACL", "SETUSER", "clerk", "on", ">pass", "~once:*", "+@read", "+@write",
              "+@scripting", "+info", "+time", "-config"});
  StoreOptions options{.url = server.url(), .user = "clerk", .password = "pass"};
  const absl::Status refused = OpeningOf(options);
  EXPECT_TRUE(absl::IsPermissionDenied(refused)) << refused;
  EXPECT_THAT(refused.ToString(), HasSubstr("StoreOptions::appendfsync"));
  options.appendfsync = AppendFsync::kEverySecond;
  EXPECT_EQ(MustOpen(options)->traits().durability, Durability::kProcess);
}

TEST(RedisOpening, WhereNobodyListensTheAnswerIsBounded) {
  const absl::Time begun = absl::Now();
  const absl::Status refused =
      OpeningOf({.url = "unix:/nowhere/at/all", .call_timeout = absl::Milliseconds(200)});
  EXPECT_TRUE(absl::IsUnavailable(refused)) << refused;
  EXPECT_THAT(refused.ToString(), HasSubstr("unix:/nowhere/at/all"));
  EXPECT_LT(absl::Now() - begun, absl::Seconds(5));
}

TEST(RedisOpening, OptionsOutOfTheirBoundsAreRefused) {
  const std::string url = SharedServer().url();
  for (const StoreOptions& options : {
           StoreOptions{.url = "http://localhost"},
           StoreOptions{.url = url, .key_prefix = "a{b}"},
           StoreOptions{.url = url, .retention = absl::ZeroDuration()},
           StoreOptions{.url = url, .call_timeout = absl::ZeroDuration()},
           StoreOptions{.url = url, .connections_max = 0},
           StoreOptions{.url = url, .inspection_interval = absl::InfiniteDuration()},
       }) {
    const absl::Status refused = OpeningOf(options);
    EXPECT_TRUE(absl::IsInvalidArgument(refused)) << refused;
  }
}

}  // namespace
}  // namespace once::redis
