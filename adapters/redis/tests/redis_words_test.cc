// What the Redis store does beside the suites: scripts that the server forgot, calls larger than a
// pipeline and half said, memory, retention, several openings, foreign keys.
#include <atomic>
#include <thread>

#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "adapters/redis/tests/claim_words.h"
#include "adapters/redis/tests/cut_proxy.h"
#include "adapters/redis/tests/redis_server.h"
#include "once/redis/store.h"

namespace once::redis {
namespace {

using testing::Ask;
using testing::Complete;
using testing::CutProxy;
using ::testing::Each;
using ::testing::Field;
using ::testing::HasSubstr;
using testing::LeaveCompleted;
using testing::MustOpen;
using testing::NewPrefix;
using testing::Owner;
using testing::RedisServer;
using testing::SharedServer;
using testing::TryClaim;

StoreOptions Shared() { return {.url = SharedServer().url(), .key_prefix = NewPrefix()}; }

// Requests about "0", "1", …; the views are of `ids`.
std::vector<ClaimRequest> RequestsFor(ClaimStore& claims, const std::vector<std::string>& ids) {
  std::vector<ClaimRequest> requests;
  for (const std::string& id : ids) {
    requests.push_back({.key = {.scope = "scope", .id = id}, .fence = claims.NewFence()});
  }
  return requests;
}

std::vector<std::string> Numbers(int count) {
  std::vector<std::string> ids;
  for (int i = 0; i < count; ++i) ids.push_back(absl::StrCat(i));
  return ids;
}

TEST(RedisWords, AScriptThatTheServerForgotIsLoadedAgain) {
  RedisServer server;
  const auto store = MustOpen({.url = server.url()});
  const absl::StatusOr<Owner> owner = TryClaim(*store, "id");
  ASSERT_TRUE(owner.ok());
  for (int i = 0; i < 3; ++i) {
    server.Ask({"SCRIPT", "FLUSH"});
    EXPECT_EQ(Ask(*store, absl::StrCat(i)), ClaimVerdict::kFresh);
  }
  server.Ask({"SCRIPT", "FLUSH"});
  EXPECT_TRUE(Complete(*store, *owner).ok());
}

TEST(RedisWords, ACallMayBeLargerThanAPipeline) {
  const auto store = MustOpen(Shared());
  const std::vector<std::string> ids = Numbers(1000);
  const std::vector<ClaimRequest> requests = RequestsFor(*store->claims(), ids);
  std::vector<ClaimResult> results(ids.size());
  ASSERT_TRUE(store->claims()->TryClaim(requests, absl::Hours(1), results).ok());
  EXPECT_THAT(results, Each(Field(&ClaimResult::verdict, ClaimVerdict::kFresh)));
  // Four megabytes there, and four back again.
  const std::string result(kClaimResultBytesMax, 'r');
  std::vector<CompletedClaim> completed;
  for (std::size_t i = 0; i < 256; ++i) {
    completed.push_back(
        {.claim = {.key = requests[i].key, .fence = requests[i].fence}, .result = result});
  }
  std::vector<absl::Status> outcomes(completed.size(), absl::InternalError("not answered"));
  ASSERT_TRUE(store->claims()->Complete(completed, outcomes).ok());
  EXPECT_THAT(outcomes, Each(absl::OkStatus()));
  const std::vector<std::string> again = Numbers(256);
  results.resize(again.size());
  ASSERT_TRUE(store->claims()
                  ->TryClaim(RequestsFor(*store->claims(), again), absl::Hours(1), results)
                  .ok());
  EXPECT_THAT(results, Each(Field(&ClaimResult::result, result)));
}

// Redis has no transaction over several ids: some of a call's words are said, and repeating the
// call says the rest.
TEST(RedisWords, ACallThatWasHalfSaidIsUnknownAndMendedByItsRepetition) {
  RedisServer server;
  CutProxy proxy(server.File("p"), server.socket_path());
  const auto store = MustOpen({.url = "unix:" + server.File("p")});
  const std::vector<std::string> ids = Numbers(100);
  ASSERT_TRUE(TryClaim(*store, "before").ok()) << "the scope is noted with the first claim";
  for (int cut = 0; cut < testing::kCuts; ++cut) {
    server.Ask({"FLUSHALL"});
    const std::vector<ClaimRequest> requests = RequestsFor(*store->claims(), ids);
    std::vector<ClaimResult> results(ids.size());
    proxy.Arm(static_cast<testing::Cut>(cut));
    const absl::Status first = store->claims()->TryClaim(requests, absl::Hours(1), results);
    EXPECT_TRUE(absl::IsUnknown(first)) << first;
    const std::int64_t said = server.Ask({"DBSIZE"}).integer;
    if (static_cast<testing::Cut>(cut) == testing::Cut::kTorn) {
      EXPECT_GT(said, 0);
      EXPECT_LT(said, 100);
    }
    ASSERT_TRUE(store->claims()->TryClaim(requests, absl::Hours(1), results).ok());
    EXPECT_THAT(results, Each(Field(&ClaimResult::verdict, ClaimVerdict::kFresh)));
  }
}

TEST(RedisWords, AScopeThatMayNotBeNotedHoldsTheClaimBackAndIsNotedLater) {
  RedisServer server;
  CutProxy proxy(server.File("p"), server.socket_path());
  for (int cut = 0; cut < testing::kCuts; ++cut) {
    server.Ask({"FLUSHALL"});
    const auto fresh = MustOpen({.url = "unix:" + server.File("p")});
    proxy.Arm(static_cast<testing::Cut>(cut));
    const absl::Status first = TryClaim(*fresh, "id").status();
    EXPECT_TRUE(absl::IsUnknown(first)) << first;
    EXPECT_EQ(Ask(*fresh, "id"), ClaimVerdict::kFresh);
    EXPECT_EQ(server.Ask({"SCARD", "once:{store}:scopes"}).integer, 1);
  }
}

TEST(RedisWords, AFullServerBeginsNothingAndEndsEverything) {
  RedisServer server;
  const auto store = MustOpen({.url = server.url()});
  ClaimStore& claims = *store->claims();
  std::vector<Owner> owners;
  for (const std::string& id : Numbers(6)) owners.push_back(*TryClaim(*store, id));
  server.Ask({"CONFIG", "SET", "maxmemory", "1"});
  const absl::Status refused = TryClaim(*store, "new").status();
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  EXPECT_THAT(refused.ToString(), HasSubstr("maxmemory"));
  absl::Status outcome;
  const auto claim = [&owners](std::size_t i) { return owners[i].claim(); };
  const Claim unbegun = claim(0);
  EXPECT_TRUE(absl::IsResourceExhausted(claims.Begun({&unbegun, 1}, {&outcome, 1})));

  EXPECT_TRUE(Complete(*store, owners[0], "result").ok());
  const FailedClaim failed{.claim = claim(1)};
  EXPECT_TRUE(claims.Fail({&failed, 1}, {&outcome, 1}).ok() && outcome.ok());
  const DyingClaim dying{.claim = claim(2), .attempt = 1};
  EXPECT_TRUE(claims.Dying({&dying, 1}, {&outcome, 1}).ok() && outcome.ok());
  const Claim dead = claim(2);
  EXPECT_TRUE(claims.Kill({&dead, 1}, {&outcome, 1}).ok() && outcome.ok());
  const Claim discarded = claim(3);
  EXPECT_TRUE(claims.Discard({&discarded, 1}, {&outcome, 1}).ok() && outcome.ok());
  const Claim released = claim(4);
  EXPECT_TRUE(claims.Release({&released, 1}, {&outcome, 1}).ok() && outcome.ok());
  const Claim renewed = claim(5);
  EXPECT_TRUE(claims.Renew({&renewed, 1}, absl::Hours(2), {&outcome, 1}).ok() && outcome.ok());
  EXPECT_TRUE(claims.Sync().ok());
  server.Ask({"CONFIG", "SET", "maxmemory", "0"});
  EXPECT_EQ(Ask(*store, "0"), ClaimVerdict::kDuplicate);
  EXPECT_EQ(Ask(*store, "1"), ClaimVerdict::kFresh);
  EXPECT_EQ(Ask(*store, "2"), ClaimVerdict::kDead);
  EXPECT_EQ(Ask(*store, "3"), ClaimVerdict::kDiscarded);
  EXPECT_EQ(Ask(*store, "4"), ClaimVerdict::kFresh);
  EXPECT_EQ(Ask(*store, "5"), ClaimVerdict::kInProgress);
}

// How many seconds the only key of `prefix` that is no store's own is kept; -1: for ever.
std::int64_t SecondsKept(const std::string& prefix) {
  const Reply keys = SharedServer().Ask({"KEYS", prefix + "*"});
  for (const Reply& key : keys.elements) {
    const bool is_id = key.text.find("{store}") == std::string::npos &&
                       key.text.find("{witness}") == std::string::npos;
    if (is_id) return SharedServer().Ask({"TTL", key.text}).integer;
  }
  ADD_FAILURE() << "no id is kept";
  return 0;
}

TEST(RedisWords, OnlyWhatIsCompletedOrDiscardedIsForgottenAndInItsTime) {
  StoreOptions options = Shared();
  options.retention = absl::Hours(1);
  const auto store = MustOpen(options);
  EXPECT_THAT(store->traits().weakness, HasSubstr("forgotten 1h")) << "as the guarantee says it";
  const absl::StatusOr<Owner> owner = TryClaim(*store, "id");
  ASSERT_TRUE(owner.ok());
  EXPECT_EQ(SecondsKept(options.key_prefix), -1) << "whoever works on it keeps it";
  EXPECT_TRUE(Complete(*store, *owner, "result").ok());
  EXPECT_GT(SecondsKept(options.key_prefix), 3500);
  EXPECT_LE(SecondsKept(options.key_prefix), 3600);
}

TEST(RedisWords, WithoutARetentionNothingIsForgotten) {
  const StoreOptions options = Shared();
  const auto store = MustOpen(options);
  LeaveCompleted(*store, "id");
  EXPECT_EQ(SecondsKept(options.key_prefix), -1);
}

TEST(RedisWords, SeveralOpeningsShareTheIdsAndRespectEachOthersLeases) {
  const StoreOptions options = Shared();
  const auto one = MustOpen(options);
  const auto two = MustOpen(options);
  const absl::StatusOr<Owner> owner = TryClaim(*one, "id");
  ASSERT_TRUE(owner.ok());
  EXPECT_EQ(Ask(*two, "id"), ClaimVerdict::kInProgress);
  EXPECT_TRUE(Complete(*one, *owner).ok());
  EXPECT_EQ(Ask(*two, "id"), ClaimVerdict::kDuplicate);
  EXPECT_NE(one->claims()->NewFence().incarnation, two->claims()->NewFence().incarnation);
}

TEST(RedisWords, KeysThatSomebodyElseWroteAreNoClaims) {
  const StoreOptions options = Shared();
  const auto store = MustOpen(options);
  const IdKey key{.scope = "scope", .id = "id"};
  SharedServer().Ask({"SET",
                      absl::StrCat(options.key_prefix, "{", IdempotencyKey(key).substr(0, 16), "}",
                                   EncodeIdKey(key)),
                      "a text"});
  const absl::Status refused = TryClaim(*store, "id").status();
  EXPECT_TRUE(absl::IsDataLoss(refused)) << refused;
  EXPECT_THAT(refused.ToString(), HasSubstr("key_prefix"));
}

TEST(RedisWords, MoreThreadsThanConnectionsWaitForEachOther) {
  StoreOptions options = Shared();
  options.connections_max = 2;
  const auto store = MustOpen(options);
  std::atomic<int> completed = 0;
  std::vector<std::jthread> threads;
  for (int number = 0; number < 8; ++number) {
    threads.emplace_back([&, number] {
      for (int i = 0; i < 25; ++i) {
        const auto owner = TryClaim(*store, absl::StrCat(number, " ", i));
        if (owner.ok() && Complete(*store, *owner).ok()) ++completed;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(completed, 200);
}

// The server hangs up on whoever is idle; nobody notices.
TEST(RedisWords, AConnectionThatTheServerClosedIsReplacedSilently) {
  RedisServer server;
  const auto store = MustOpen({.url = server.url()});
  for (int i = 0; i < 3; ++i) {
    server.Ask({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"});
    EXPECT_EQ(Ask(*store, absl::StrCat(i)), ClaimVerdict::kFresh);
  }
}

TEST(RedisWords, AServerThatIsGoneIsUnavailableAndServesAgainLater) {
  RedisServer server;
  const auto store = MustOpen({.url = server.url(), .call_timeout = absl::Seconds(2)});
  server.Kill();
  const absl::Status refused = TryClaim(*store, "id").status();
  EXPECT_TRUE(absl::IsUnavailable(refused)) << refused;
  EXPECT_TRUE(absl::IsUnavailable(store->claims()->Sync()));
  server.Start();
  EXPECT_EQ(Ask(*store, "id"), ClaimVerdict::kFresh);
}

// A server that hangs holds a call no longer than its timeout, and leaves open what it has heard.
TEST(RedisWords, AServerThatHangsLeavesTheCallUnknownInTime) {
  RedisServer server;
  const auto store = MustOpen({.url = server.url(), .call_timeout = absl::Seconds(1)});
  server.Stop();
  const absl::Status refused = TryClaim(*store, "id").status();
  server.Continue();
  EXPECT_TRUE(absl::IsUnknown(refused)) << refused;
  EXPECT_EQ(Ask(*store, "after"), ClaimVerdict::kFresh);
}

}  // namespace
}  // namespace once::redis
